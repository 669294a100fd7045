/** Checks of parsed JSON, put together from small ones. Quick, since there are millions of lines: no errors are made. */

/** Whether a value is of the form that its type says. */
export type Check = (value: unknown) => boolean;

export const isText: Check = (value) => typeof value === 'string';

/** A count, a port, a pid: exact, and not below zero. */
export const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;

export const isInteger: Check = (value) => Number.isSafeInteger(value);

export const isBoolean: Check = (value) => typeof value === 'boolean';

export function matches(pattern: RegExp): Check {
  return (value) => typeof value === 'string' && pattern.test(value);
}

export function oneOf(values: readonly unknown[]): Check {
  const known = new Set(values);
  return (value) => known.has(value);
}

export function orNull(check: Check): Check {
  return (value) => value === null || check(value);
}

export function listOf(check: Check): Check {
  return (value) => Array.isArray(value) && value.every((item) => check(item));
}

/** An object with these properties; it may have more, which a later version knows. */
export function object<T>(properties: { readonly [Name in keyof T]-?: Check }): Check {
  const names = Object.keys(properties);
  const checks = Object.values<Check>(properties);
  return (value) => {
    if (typeof value !== 'object' || value === null) return false;
    const found = value as Readonly<Record<string, unknown>>;
    for (let i = 0; i < names.length; i++) {
      const check = checks[i] as Check;
      if (!check(found[names[i] as string])) return false;
    }
    return true;
  };
}

/** An object whose property `tag` says which of these it is. */
export function tagged(tag: string, alternatives: Readonly<Record<string, Check>>): Check {
  const byTag = new Map(Object.entries(alternatives));
  return (value) => {
    if (typeof value !== 'object' || value === null) return false;
    const check = byTag.get((value as Readonly<Record<string, unknown>>)[tag] as string);
    return check?.(value) ?? false;
  };
}

/** A fact, or why it is not known. */
export function known(check: Check): Check {
  return (value) => {
    if (typeof value !== 'object' || value === null) return false;
    const fact = value as { status?: unknown; value?: unknown; reason?: unknown };
    if (fact.status === 'measured') return check(fact.value);
    return fact.status === 'unavailable' && typeof fact.reason === 'string';
  };
}
