// Asking again while training goes on: soon after something changed, ever more rarely while nothing does.

const SOONEST = 3000;
const LATEST = 60000;
const SLOWER = 1.5;

// A tab of TensorBoard that isn't in front keeps its frame, without a size.
export const isShown = () => !document.hidden && window.innerWidth > 0;

export function keepAsking(look) {
  let wait = SOONEST;
  let timer;
  let looking = false;

  async function turn() {
    clearTimeout(timer);
    if (looking) return;
    looking = true;
    try {
      if (isShown()) wait = (await look()) ? SOONEST : Math.min(wait * SLOWER, LATEST);
    } catch {
      wait = Math.min(wait * SLOWER, LATEST);
    }
    looking = false;
    timer = setTimeout(turn, wait);
  }

  const again = () => { if (isShown()) { wait = SOONEST; turn(); } };
  document.addEventListener("visibilitychange", again);
  window.addEventListener("resize", () => { if (isShown() && wait > SOONEST * 4) again(); });
  timer = setTimeout(turn, wait);
  return again;
}
