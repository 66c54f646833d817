import { Command } from 'commander'

/** `switchyard data`: corpora and tokenizers. */
export function dataCommand(): Command {
  return new Command('data').description('prepare and describe corpora')
}
