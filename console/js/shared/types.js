// The wire types of /v1 that the pages read, as crates/api writes them. Ids are hexadecimal text.

/** @typedef {{lat: number, lon: number}} Position */

/** A city that a terminal may say it is in. `network` is absent for a place from geolocation.
 * @typedef {{name: string, network?: string, position: Position}} Place */

/** @typedef {{node: string, ms: number, age_ms: number}} RoundTrip */

/** @typedef {{position?: Position, network?: string, round_trips?: RoundTrip[]}} Terminal */

/** @typedef {{site: string, node: string, address: string, certificate_sha256?: string, websocket?: string}} Entry */

/**
 * @typedef {object} Ticket
 * @property {string} session
 * @property {number} epoch
 * @property {string} app
 * @property {string} host_site
 * @property {Entry} entry
 * @property {string} token
 * @property {number} expires_unix_ms
 * @property {number} round_trip_ms
 */

/** @typedef {{entry: Entry, round_trip_ms: number}} Candidate */

/** @typedef {{site: string, node: string, why: string}} Passed */

/** @typedef {{candidates: Candidate[], rejected: Passed[]}} Discovered */

/** @typedef {{session: string, key: string, ticket: Ticket, explain: Explanation}} Created */

/** @typedef {{site: string, here_ms: number, there_ms: number}} Offer */

/** @typedef {{ticket: Ticket, outcome: "same" | "entry" | "restarted", why: string, offer?: Offer}} Renewed */

/** @typedef {{decided_unix_ms: number, cause: string, site: string, node: string, why: string, passed: Passed[]}} Explanation */

/** @typedef {{name: string, title: string, position: Position, network?: string, nodes: string[], up: boolean, sessions: number, load: number}} Site */

/** @typedef {{cpu_millis: number, memory: number, encoders: number}} Resources */

/**
 * @typedef {object} NodeView
 * @property {string} id
 * @property {string} site
 * @property {"ready" | "draining" | "silent"} status
 * @property {{network?: string, address: string}[]} endpoints
 * @property {Resources} capacity
 * @property {Resources} free
 * @property {number} cpu_load
 * @property {number} sessions
 * @property {number} warm
 * @property {string} version
 * @property {string[]} [lacks]
 */

/**
 * @typedef {object} StreamManifest
 * @property {"stream"} kind
 * @property {string} name
 * @property {string} [title]
 * @property {string[]} command
 * @property {{width: number, height: number, content: string, max_fps: number, resizable: boolean}} screen
 * @property {{kind: string, relative_pointer: boolean}} input
 * @property {{enabled: boolean}} sound
 * @property {{cpu: number, memory: number}} resources
 * @property {{on_move: "stay" | "restart", reconnect_grace_secs: number, idle_limit_secs: number}} session
 * @property {{warm: number, sites: string[]}} placement
 * @property {{public: boolean}} access
 */

/**
 * @typedef {object} LiveManifest
 * @property {"live"} kind
 * @property {string} name
 * @property {string} [title]
 * @property {[number, number, number]} center
 * @property {{name: string, title: string, position: [number, number, number], yaw_degrees: number, pitch_degrees: number, field_of_view_degrees: number}[]} cameras
 * @property {string} sound
 * @property {{name: string, height: number, max_fps: number, bitrate_kbps: number, group_ms: number}[]} renditions
 * @property {number} retention_secs
 * @property {{public: boolean}} access
 */

/** @typedef {StreamManifest | LiveManifest} Manifest */

/** @typedef {{name: string, release: {number: number, manifest: Manifest, created_unix_ms: number}, sites: string[], sessions: number}} App */

/** @typedef {{round_trip_ms: number, frames_per_second: number, kilobits_per_second: number, target_kilobits_per_second: number, loss: number, encode_ms: number}} Quality */

/**
 * @typedef {object} Session
 * @property {string} id
 * @property {string} app
 * @property {number} release
 * @property {"starting" | "active" | "waiting" | "lost"} state
 * @property {number} epoch
 * @property {string} host_site
 * @property {string} host_node
 * @property {string} entry_site
 * @property {Position} [position]
 * @property {string} [network]
 * @property {number} created_unix_ms
 * @property {Quality} quality
 */

/** @typedef {{from: string, to: string, round_trip_ms: number}} Link */

/** @typedef {{event: LiveManifest, entry: Entry, token: string, expires_unix_ms: number, round_trip_ms: number, on_air: string[]}} WatchTicket */

/** @typedef {{name: string, title: string, cameras: {name: string, site?: string, status?: object}[], viewers: number}} LiveEvent */

/** @typedef {{sites: Site[], nodes: NodeView[], apps: App[], sessions: Session[], links: Link[], places: Place[]}} Snapshot */

export {};
