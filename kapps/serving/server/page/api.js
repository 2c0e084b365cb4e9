"use strict";
// What the server offers over HTTP: openapi.json as a page.

const METHODS = ["get", "post"];

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const schemaOf = (part) => Object.values(part?.content ?? {})[0]?.schema;

function shown(title, schema) {
  const text = JSON.stringify(schema, null, 1);
  return make("details", {}, make("summary", { textContent: title }), make("pre", { textContent: text }));
}

function operation(method, path, said) {
  const heading = make("h2", {}, make("code", { textContent: `${method.toUpperCase()} ${path}` }));
  const section = make("section", {}, heading, make("p", { textContent: said.summary }));
  const request = schemaOf(said.requestBody);
  const answer = schemaOf(said.responses["200"]);
  if (request) section.append(shown("Request", request));
  if (answer && Object.keys(answer).length) section.append(shown("Answer", answer));
  return section;
}

async function main() {
  const key = sessionStorage.getItem("key");
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const answer = await fetch("openapi.json", { headers });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error);
  for (const [path, methods] of Object.entries(said.paths)) {
    for (const method of METHODS) {
      if (methods[method]) document.getElementById("operations").append(operation(method, path, methods[method]));
    }
  }
  document.getElementById("status").textContent = said.info.description;
}

main().catch((error) => {
  document.getElementById("status").textContent = error.message;
});
