// The whole public face of @moq/net, so that the bundle can be swapped for a newer one without touching this file.
export * from "@moq/net";
