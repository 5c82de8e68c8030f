// TensorBoard's theme where the page is framed by it, the reader's own elsewhere.

const wished = matchMedia("(prefers-color-scheme: dark)");

function hostBody() {
  try {
    return window.parent === window ? null : window.parent.document.body;
  } catch {
    return null;
  }
}

export function theme() {
  const body = hostBody();
  const dark = body ? body.classList.contains("dark-mode") : wished.matches;
  return dark ? "dark" : "light";
}

export function follow(listener) {
  const apply = () => {
    if (document.documentElement.dataset.theme === theme()) return;
    document.documentElement.dataset.theme = theme();
    listener();
  };
  apply();
  wished.addEventListener("change", apply);
  const body = hostBody();
  if (body) new MutationObserver(apply).observe(body, { attributes: true, attributeFilter: ["class"] });
}
