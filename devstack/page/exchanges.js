// The side panel: every GraphQL operation as it was sent and answered, to read and to copy.

const KEPT = 40;
const list = document.getElementById("exchanges");
const template = document.getElementById("exchange");

/** Show an operation that is sent now; without a `url` it is a subscription on a WebSocket. */
export function exchangeStarted({ query, variables, url, token }) {
  const [, kind, operation] = /(query|mutation|subscription)\s+(\w+)/.exec(query);
  const item = template.content.firstElementChild.cloneNode(true);
  const part = (name) => item.querySelector(`.${name}`);
  const texts = { query: query.trim() };
  const started = performance.now();
  let answers = 0;

  const show = (name, text) => {
    texts[name] = text;
    part(name).textContent = text;
    part(name).parentElement.hidden = false;
  };
  const outcome = (text, state) => {
    part("outcome").textContent = text;
    item.dataset.state = state;
  };

  item.dataset.kind = kind;
  part("kind").textContent = kind;
  part("operation").textContent = operation;
  part("answer").textContent = "…";
  for (const name of ["query", "variables", "answer"]) {
    part(name).setAttribute("role", "region");
    part(name).setAttribute("aria-label", `${operation}, ${name}`);
  }
  show("query", texts.query);
  if (variables) show("variables", JSON.stringify(variables, null, 2));
  if (url) texts.curl = curlCommand(url, token, texts.query, variables);
  part("curl").hidden = !url;
  outcome(url ? "sent" : "opening", "waiting");
  item.addEventListener("click", ({ target }) => {
    if (target.dataset.copy) copy(target, texts[target.dataset.copy]);
  });
  // The first mutation is shown open; after that the reader decides.
  if (kind === "mutation" && !list.querySelector("[data-kind=mutation]")) {
    item.querySelector("details").open = true;
  }
  list.prepend(item);
  while (list.children.length > KEPT) {
    [...list.children].findLast((old) => old.dataset.kind !== "subscription").remove();
  }

  return {
    answered(answer) {
      answers += 1;
      show("answer", JSON.stringify(answer, null, 2));
      const took = `${Math.round(performance.now() - started).toLocaleString("en")} ms`;
      if (answer.errors) outcome(answer.errors[0].extensions?.code ?? "error", "failed");
      else outcome(url ? took : `live · ${answers} ${answers === 1 ? "answer" : "answers"}`, "done");
    },
    failed(error) {
      if (item.dataset.state !== "failed") outcome("no answer", "failed");
      if (!answers) show("answer", error.message);
    },
  };
}

function curlCommand(url, token, query, variables) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  return [
    `curl -s ${quoted(url)}`,
    "-H 'content-type: application/json'",
    `-H 'authorization: Bearer ${token}'`,
    `-d ${quoted(JSON.stringify({ query, variables }))}`,
  ].join(" \\\n  ");
}

async function copy(button, text) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed here";
  }
  setTimeout(() => (button.textContent = label), 1500);
}
