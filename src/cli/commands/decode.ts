import type { Command } from 'commander';
import { ImageFile } from '../../interop/index.ts';
import { formatImage } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommonOptions } from '../context.ts';

const EXAMPLES = `
64-bit numbers and bytes are strings (decimal, base64). What a newer CRIU added stands under $unknown.

Examples:
  ckpt decode checkpoint/pstree.img
  ckpt decode checkpoint/core-1.img | jq '.entries[0].tc.comm'`;

/** `ckpt decode FILE`: what an image of CRIU says. */
export function declareDecode(program: Command, shell: Shell): void {
  const command = program
    .command('decode')
    .description('print an image file of CRIU as JSON')
    .argument('<file>', 'such as inventory.img, pagemap-1.img, core-1.img')
    .addHelpText('after', EXAMPLES);
  withCommonOptions(command).action(
    runsAs<CommonOptions>(shell, async (context, _options, [file]) => {
      const image = await ImageFile.open(file!);
      for await (const piece of formatImage(image)) context.environment.stdout.write(piece);
    }),
  );
}
