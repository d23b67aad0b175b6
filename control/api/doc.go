// Package api is the REST API of the control plane as both ends see it: the
// types of its JSON bodies, the errors (RFC 9457), and a client.
//
// It owns no behaviour of the control plane: package server turns requests into
// calls of a backend, and the orchestrators implement that. The types are
// views, made for people and scripts; fields are added, never renamed or
// removed, within /api/v1. Amounts carry their unit in the name; times are UTC.
package api

// Prefix is the path under which all of the API is found.
const Prefix = "/api/v1"
