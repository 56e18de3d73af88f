/* Talking to the server. */

export class Refusal extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function asText(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error ?? text;
  } catch {
    return text.trim();
  }
}

export async function ask(path, values = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const response = await fetch(query.size ? `${path}?${query}` : path);
  if (!response.ok) throw new Refusal(response.status, await asText(response));
  return response.json();
}

/* 409 is an answer too: it lists what was saved and what was in conflict. */
export async function post(path, value) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(value),
  });
  if (!response.ok && response.status !== 409) {
    throw new Refusal(response.status, await asText(response));
  }
  return response.json();
}

export const send = (decisions, reviewer, rowsKey) =>
  post("/api/decisions", { reviewer, decisions, rows_key: rowsKey });
