// Questions to the plugin. Addresses are relative: TensorBoard may stand under any path.

export async function ask(question, parameters = [], signal = undefined) {
  const query = new URLSearchParams(parameters).toString();
  const response = await fetch(`./${question}${query && `?${query}`}`, { signal, cache: "no-store" });
  if (!response.ok) throw new Error(`${question}: ${response.status}`);
  return response.json();
}

// One line of questions of which only the newest is answered: a late answer to an older one is dropped.
export function line() {
  let turn = 0;
  let pending;
  return async (question, parameters) => {
    turn += 1;
    const mine = turn;
    if (pending) pending.abort();
    pending = new AbortController();
    try {
      const answer = await ask(question, parameters, pending.signal);
      return mine === turn ? answer : null;
    } catch (error) {
      if (mine !== turn) return null;
      throw error;
    }
  };
}
