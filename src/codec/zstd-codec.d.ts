/** What ckpt uses of zstd-codec, which ships no types. Failures are `null`, never an exception. */
declare module 'zstd-codec' {
  interface SimpleZstd {
    compress(content: Uint8Array, level: number): Uint8Array | null;
    decompress(frame: Uint8Array): Uint8Array | null;
  }
  interface ZstdBinding {
    readonly Simple: new () => SimpleZstd;
  }
  const ZstdCodec: { run(ready: (binding: ZstdBinding) => void): void };

  export { type SimpleZstd, ZstdCodec };
}
