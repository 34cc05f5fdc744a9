/** A start form: fields from a pipeline's JSON Schema, and the pipeline's input from the form's values. Pure. */

export type FieldKind = "text" | "paragraph" | "number" | "integer" | "boolean" | "choice" | "json";

export interface Field {
  readonly name: string;
  readonly kind: FieldKind;
  readonly label: string;
  readonly hint: string;
  readonly required: boolean;
  readonly initial: string | boolean;
  readonly placeholder: string;
  readonly choices: readonly string[];
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly pattern?: string;
}

export type Values = Readonly<Record<string, string | boolean>>;
export type FieldError = "required" | "json" | { readonly detail: string };

type Schema = Readonly<Record<string, unknown>>;

function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Resolves a `$ref` within the document, and an `anyOf` of one type and null (pydantic's optional field). */
function resolve(schema: Schema, root: Schema): Schema {
  if (typeof schema.$ref === "string" && schema.$ref.startsWith("#/")) {
    let target: unknown = root;
    for (const part of schema.$ref.slice(2).split("/")) target = isSchema(target) ? target[part] : undefined;
    return isSchema(target) ? { ...resolve(target, root), ...without(schema, "$ref") } : schema;
  }
  for (const key of ["anyOf", "allOf", "oneOf"]) {
    const options = schema[key];
    if (!Array.isArray(options)) continue;
    const real = options.filter((option): option is Schema => isSchema(option) && option.type !== "null");
    if (real.length === 1 && real[0] !== undefined)
      return { ...resolve(real[0], root), ...without(schema, key) };
  }
  return schema;
}

function without(schema: Schema, key: string): Schema {
  return Object.fromEntries(Object.entries(schema).filter(([name]) => name !== key));
}

export function fieldsOf(root: Schema): readonly Field[] {
  const properties = isSchema(root.properties) ? root.properties : {};
  const required = Array.isArray(root.required) ? root.required : [];
  return Object.entries(properties).flatMap(([name, value]) => {
    if (!isSchema(value)) return [];
    return [fieldOf(name, resolve(value, root), required.includes(name))];
  });
}

function fieldOf(name: string, schema: Schema, required: boolean): Field {
  const text = (key: string) => (typeof schema[key] === "string" ? (schema[key] as string) : "");
  const number = (key: string) => (typeof schema[key] === "number" ? (schema[key] as number) : undefined);
  const kind = kindOf(schema);
  const example = Array.isArray(schema.examples) ? schema.examples[0] : undefined;
  return {
    name,
    kind,
    label: text("title") || name,
    hint: text("description"),
    required,
    initial: initialOf(kind, schema.default),
    placeholder: example === undefined ? "" : typeof example === "string" ? example : JSON.stringify(example),
    choices: Array.isArray(schema.enum) ? schema.enum.map(String) : [],
    minLength: number("minLength"),
    maxLength: number("maxLength"),
    minimum: number("minimum"),
    maximum: number("maximum"),
    pattern: text("pattern") || undefined,
  };
}

function kindOf(schema: Schema): FieldKind {
  if (Array.isArray(schema.enum) && schema.enum.every((item) => typeof item === "string")) return "choice";
  switch (schema.type) {
    case "string": {
      const isLong = typeof schema.maxLength === "number" && schema.maxLength > 200;
      return isLong || schema.format === "textarea" ? "paragraph" : "text";
    }
    case "integer":
    case "number":
    case "boolean":
      return schema.type;
    default:
      return "json"; // objects, lists, unions: entered as JSON
  }
}

function initialOf(kind: FieldKind, value: unknown): string | boolean {
  if (kind === "boolean") return value === true;
  if (value === undefined || value === null) return "";
  return kind === "json" ? JSON.stringify(value, null, 2) : String(value);
}

export function initialValues(fields: readonly Field[]): Values {
  return Object.fromEntries(fields.map((field) => [field.name, field.initial]));
}

/** The pipeline's input, and the errors by field. An empty field is left out of the input. */
export function readValues(
  fields: readonly Field[],
  values: Values,
): {
  readonly input: Readonly<Record<string, unknown>>;
  readonly errors: Readonly<Record<string, FieldError>>;
} {
  const input: Record<string, unknown> = {};
  const errors: Record<string, FieldError> = {};
  for (const field of fields) {
    const value = values[field.name] ?? field.initial;
    if (typeof value === "boolean") {
      input[field.name] = value;
      continue;
    }
    if (value.trim() === "") {
      if (field.required) errors[field.name] = "required";
      continue;
    }
    if (field.kind === "number" || field.kind === "integer") input[field.name] = Number(value);
    else if (field.kind === "json") {
      try {
        input[field.name] = JSON.parse(value);
      } catch {
        errors[field.name] = "json";
      }
    } else input[field.name] = value;
  }
  return { input, errors };
}

/** The errors by field of a problem document (`errors: [{where: ["input", name], message}]`). */
export function errorsOf(problem: Readonly<Record<string, unknown>>): Readonly<Record<string, FieldError>> {
  const out: Record<string, FieldError> = {};
  const errors = Array.isArray(problem.errors) ? problem.errors : [];
  for (const error of errors) {
    if (!isSchema(error)) continue;
    const name: unknown = Array.isArray(error.where) ? error.where.at(-1) : undefined;
    if (typeof name === "string" && typeof error.message === "string") out[name] = { detail: error.message };
  }
  return out;
}
