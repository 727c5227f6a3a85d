// What the audio thread has besides the page's globals, and calls that the DOM library does not type yet.

declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;

interface Navigator {
  readonly keyboard?: { lock(codes?: string[]): Promise<void>; unlock(): void };
}
