// Package server serves the REST API of the control plane: it authenticates,
// reads and checks requests, calls a Backend and writes what it says, as JSON,
// as streams, or as errors by RFC 9457. The description of the API, OpenAPI 3.1,
// is made from the same declarations.
//
// It keeps no state besides the streams that are open, and never reaches
// behind the Backend.
package server
