import type { ImageFile } from '../interop/index.ts';

/**
 * An image of CRIU as one JSON document, piece by piece, an entry a line: `{"magic": "PAGEMAP", "entries": [...]}`, as
 * crit names things. Entries with raw data behind them tell how much in `$payloadBytes`.
 */
export async function* formatImage(image: ImageFile): AsyncGenerator<string> {
  yield `{\n  "magic": ${JSON.stringify(image.kind.name)},\n  "entries": [`;
  let separator = '\n';
  for await (const { message, payloadBytes } of image.entries()) {
    const told = payloadBytes > 0 ? { ...message, $payloadBytes: payloadBytes } : message;
    yield `${separator}    ${JSON.stringify(told)}`;
    separator = ',\n';
  }
  yield '\n  ]\n}\n';
}
