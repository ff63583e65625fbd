// The schemas of docs/realtime-protocol.md, and whether a message is as they say. As much of JSON
// Schema as they use; a keyword that is not known here is an error, so that none is passed over.
import fs from "node:fs";

const page = fs.readFileSync(new URL("../../docs/realtime-protocol.md", import.meta.url), "utf8");
const schemas = JSON.parse(page.match(/```json schema\n([\s\S]*?)\n```/)[1]);
/** Names of the schemas that something was held against, by how often. */
export const seen = {};

const types = {
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  array: Array.isArray,
  string: (value) => typeof value === "string",
  integer: Number.isSafeInteger,
  boolean: (value) => typeof value === "boolean",
};

const keywords = {
  type: (wanted, value) => types[wanted](value),
  const: (wanted, value) => value === wanted,
  enum: (wanted, value) => wanted.includes(value),
  minimum: (least, value) => value >= least,
  maximum: (most, value) => value <= most,
  minLength: (least, value) => value.length >= least,
  pattern: (pattern, value) => new RegExp(pattern).test(value),
  required: (names, value) => names.every((name) => Object.hasOwn(value, name)),
  minProperties: (least, value) => Object.keys(value).length >= least,
  maxProperties: (most, value) => Object.keys(value).length <= most,
};

function check(schema, value, where) {
  if (schema.$ref) return check(schemas[schema.$ref], value, where);
  for (const [keyword, wanted] of Object.entries(schema)) {
    if (keyword === "items") value.forEach((item, i) => check(wanted, item, `${where}[${i}]`));
    else if (keyword === "properties" || keyword === "additionalProperties") continue;
    else if (!keywords[keyword]) throw new Error(`the keyword ${keyword} is not known`);
    else if (!keywords[keyword](wanted, value))
      throw new Error(`${where} breaks ${keyword} ${JSON.stringify(wanted)}: ${JSON.stringify(value)}`);
  }
  if (!types.object(value)) return;
  for (const [name, member] of Object.entries(value)) {
    const known = schema.properties?.[name];
    if (known) check(known, member, `${where}.${name}`);
    else if (schema.additionalProperties === false) throw new Error(`${where}.${name} is not described`);
    else if (schema.additionalProperties) check(schema.additionalProperties, member, `${where}.${name}`);
  }
}

/** Throws if the value is not as the schema of that name says. */
export function validate(name, value) {
  if (!schemas[name]) throw new Error(`there is no schema ${name}`);
  check(schemas[name], value, name);
  seen[name] = (seen[name] ?? 0) + 1;
}

/** Holds what a client has got against its schema, and the messages in it against theirs. */
export function validateReceived(message) {
  const kind = Object.keys(message).find((name) => name !== "i");
  validate(message.i === undefined ? "push" : "answer", message);
  seen[`${message.i === undefined ? "push" : "answer"} ${kind}`] = true;
  const inside = message.pub?.d ?? message.state?.d;
  if (inside?.type) validate(`message.${inside.type}`, inside);
}
