// Calls of the server, and the page's way to say what went wrong.

let token = sessionStorage.getItem("token") ?? "";

/** An answer that is no success; `status` is that of HTTP, 0 where there was no answer. */
export class Failed extends Error {
  constructor(status, line) {
    super(line);
    this.status = status;
  }
}

/** What the server answers to an address; `body` is sent as JSON where there is one. */
export async function ask(address, body) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const request = body === undefined
    ? { headers }
    : { method: "POST", body: JSON.stringify(body), headers: { ...headers, "Content-Type": "application/json" } };
  let answer;
  try {
    answer = await fetch(address, request);
  } catch {
    throw new Failed(0, "the server does not answer; is it running?");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Failed(answer.status, said.error ?? `the server answers ${answer.status}`);
  return said;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Show a line on what went wrong, or nothing for "". */
export function complain(line) {
  byId("fault").textContent = line;
  byId("fault").hidden = !line;
}

/** Run `work`; where a token is missing ask for one and run it again; say what else goes wrong. */
export async function guarded(work) {
  try {
    await work();
    byId("unlock").hidden = true;
  } catch (error) {
    if (!(error instanceof Failed)) throw error;
    if (error.status !== 401) {
      complain(error.message);
      return;
    }
    complain(token ? error.message : "");
    byId("unlock").hidden = false;
    byId("token").focus();
    byId("unlock").onsubmit = (event) => {
      event.preventDefault();
      token = byId("token").value;
      sessionStorage.setItem("token", token);
      complain("");
      guarded(work);
    };
  }
}
