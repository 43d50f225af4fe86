/** What ckpt uses of zstd-codec 0.1.5, which ships no types. */
declare module 'zstd-codec/lib/module.js' {
  /** A std::vector<uint8_t> in the WebAssembly heap. */
  interface VectorU8 {
    /** Cuts, or appends `fill` bytes; what is within the capacity stays in place. */
    resize(lengthBytes: number, fill: number): void;
  }
  /** Whole frames from vector to vector. Results are lengths in bytes, negative on failure. */
  interface CodecBinding {
    compressBound(lengthBytes: number): number;
    compress(target: VectorU8, source: VectorU8, level: number): number;
    decompress(target: VectorU8, source: VectorU8): number;
  }
  interface ZstdBinding {
    readonly VectorU8: new () => VectorU8;
    readonly ZstdCodec: new () => CodecBinding;
    /** A view on the vector's bytes, valid until it is resized beyond its capacity. */
    toTypedArrayView(vector: VectorU8): Uint8Array;
  }
  /** Makes a new heap and hands out what works on it. */
  function run(ready: (binding: ZstdBinding) => void): void;

  export { run, type VectorU8, type ZstdBinding };
}
