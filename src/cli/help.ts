// How help looks.

import type { Command, Option } from 'commander'
import { commandLine } from '../command-line.ts'

/** Gives a command and its subcommands what all share: the look of help, and help that works when copied. */
export function shareHelp(command: Command): void {
  command.configureHelp({ optionDescription }).showHelpAfterError('(add --help for usage)')
  const program = commandLine()
  if (program !== 'switchyard') command.addHelpText('after', `\nHere 'switchyard' is: ${program}`)
  for (const child of command.commands) shareHelp(child)
}

/** The text of an option, whether it must be given, what it may be and what it is by default. */
function optionDescription(option: Option): string {
  const { description, mandatory, argChoices, defaultValue, defaultValueDescription } = option
  const isShown = defaultValue !== undefined && defaultValue !== false && !Array.isArray(defaultValue)
  const facts = [
    mandatory && defaultValue === undefined && 'required',
    argChoices && `one of ${argChoices.join(', ')}`,
    isShown && `default: ${defaultValueDescription ?? defaultValue}`,
  ].filter(Boolean)
  return facts.length > 0 ? `${description} (${facts.join('; ')})` : description
}
