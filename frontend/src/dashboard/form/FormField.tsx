import type { ReactNode } from "react";
import { useWords } from "../words";
import type { Field, FieldError } from "./schema";

export interface FormFieldProps {
  readonly field: Field;
  readonly value: string | boolean;
  readonly error: FieldError | undefined;
  readonly onChange: (value: string | boolean) => void;
}

/** One field of a form, with its label, hint and error: screen readers announce them together. */
export function FormField({ field, value, error, onChange }: FormFieldProps): ReactNode {
  const words = useWords();
  const id = `field-${field.name}`;
  const described = [field.hint !== "" && `${id}-hint`, error !== undefined && `${id}-error`].filter(Boolean);
  const shared = {
    id,
    name: field.name,
    "aria-invalid": error !== undefined || undefined,
    "aria-describedby": described.length > 0 ? described.join(" ") : undefined,
    "aria-required": field.required || undefined,
  };
  const text = typeof value === "string" ? value : "";
  const message =
    error === undefined
      ? null
      : error === "required"
        ? words.required
        : error === "json"
          ? words.invalidJson
          : error.detail;
  const control = () => {
    switch (field.kind) {
      case "paragraph":
      case "json":
        return (
          <textarea
            {...shared}
            className={field.kind === "json" ? "input mono" : "input"}
            rows={field.kind === "json" ? 6 : 4}
            value={text}
            placeholder={field.placeholder}
            maxLength={field.maxLength}
            onChange={(event) => onChange(event.target.value)}
          />
        );
      case "choice":
        return (
          <select
            {...shared}
            className="select"
            value={text}
            onChange={(event) => onChange(event.target.value)}
          >
            {!field.required && field.initial === "" && <option value="" />}
            {field.choices.map((choice) => (
              <option key={choice} value={choice}>
                {choice}
              </option>
            ))}
          </select>
        );
      case "boolean":
        return (
          <input
            {...shared}
            type="checkbox"
            className="switch"
            role="switch"
            checked={value === true}
            onChange={(event) => onChange(event.target.checked)}
          />
        );
      case "number":
      case "integer":
        return (
          <input
            {...shared}
            className="input"
            type="number"
            step={field.kind === "integer" ? 1 : "any"}
            min={field.minimum}
            max={field.maximum}
            value={text}
            placeholder={field.placeholder}
            onChange={(event) => onChange(event.target.value)}
          />
        );
      case "text":
        return (
          <input
            {...shared}
            className="input"
            type="text"
            value={text}
            placeholder={field.placeholder}
            maxLength={field.maxLength}
            onChange={(event) => onChange(event.target.value)}
          />
        );
    }
  };
  return (
    <div className="field" data-kind={field.kind}>
      <label htmlFor={id} className="field-label">
        {field.label}
        {field.required && <span className="field-required"> *</span>}
      </label>
      {control()}
      {field.hint !== "" && (
        <p id={`${id}-hint`} className="field-hint">
          {field.hint}
        </p>
      )}
      {message !== null && (
        <p id={`${id}-error`} className="field-error" role="alert">
          {message}
        </p>
      )}
    </div>
  );
}
