// The part of @moq/net 0.3.4 that the player calls. See README.md.

export interface Timestamp {
  asMicros(): number | bigint;
}

export interface Frame {
  payload: Uint8Array;
  timestamp: Timestamp;
}

export namespace Time {
  const Timestamp: { now(): Timestamp };
}

export namespace Path {
  type Valid = string & { readonly __path: true };
  function from(...parts: string[]): Valid;
}

export namespace Group {
  class Producer {
    readonly sequence: number;
    writeFrame(frame: Frame): void;
    close(abort?: Error): void;
  }
  class Consumer {
    readonly sequence: number;
    readonly isClosed: boolean;
    tryReadFrame(): Frame | undefined;
    readFrame(): Promise<Frame | undefined>;
    close(abort?: Error): void;
  }
}

export namespace Track {
  interface Subscription {
    /** 0 to 255, higher first. */
    priority?: number;
    ordered?: boolean;
    /** Milliseconds after which a group that is not the latest is skipped; 0 is the live edge only. */
    latencyMax?: number;
  }
  class Producer {
    readonly name: string;
    appendGroup(): Group.Producer;
    writeFrame(frame: Frame): void;
    close(abort?: Error): void;
  }
  class Subscriber {
    readonly name: string;
    recvGroup(): Promise<Group.Consumer | undefined>;
    nextGroup(): Promise<Group.Consumer | undefined>;
    update(options: Subscription): void;
    close(abort?: Error): void;
  }
  class Consumer {
    subscribe(options?: Subscription): Subscriber;
  }
}

export namespace Broadcast {
  class Producer {
    createTrack(name: string, info?: { latencyMax?: number; priority?: number; ordered?: boolean }): Track.Producer;
    close(abort?: Error): void;
  }
  class Consumer {
    track(name: string): Track.Consumer;
    close(abort?: Error): void;
  }
}

export namespace Announce {
  class Consumer {
    next(): Promise<{ path: Path.Valid; active: boolean } | undefined>;
    close(): void;
  }
}

export namespace Connection {
  interface Stats {
    rtt?: number;
    bytesReceived?: number;
    packetsLost?: number;
  }
  interface Established {
    readonly url: URL;
    readonly version: string;
    readonly transport: "webtransport" | "websocket";
    announced(prefix?: Path.Valid): Announce.Consumer;
    publish(path: Path.Valid, broadcast: Broadcast.Producer): void;
    consume(path: Path.Valid): Broadcast.Consumer;
    stats(): Promise<Stats>;
    close(): void;
    closed: Promise<void>;
  }
  interface ConnectProps {
    webtransport?: { serverCertificateHashes?: { value: string | BufferSource }[] };
    websocket?: { enabled?: boolean; url?: URL; delay?: number };
    signal?: AbortSignal;
  }
  function connect(url: URL, props?: ConnectProps): Promise<Established>;
  function isWebTransportSupported(): boolean;
}
