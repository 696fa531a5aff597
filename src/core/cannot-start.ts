/**
 * Something that the configuration asks for and that cannot be had: an address, a folder, a file. Its message is for
 * whoever wrote the configuration.
 */
export class CannotStart extends Error {
  constructor(message: string, cause: unknown) {
    super(message, { cause })
    this.name = 'CannotStart'
  }
}
