/** The same object without the properties that are undefined: an optional property is either there or not. */
export function present<T extends object>(fields: { [Key in keyof T]: T[Key] | undefined }): T {
  if (isComplete(fields)) return fields
  const result: { [Key in keyof T]?: T[Key] } = {}
  for (const key in fields) {
    const value = fields[key]
    if (value !== undefined) result[key] = value
  }
  return result as T
}

function isComplete<T extends object>(fields: { [Key in keyof T]: T[Key] | undefined }): fields is T {
  for (const key in fields) if (fields[key] === undefined) return false
  return true
}
