// Package edgeiov1 is the protocol between a parent orchestrator and its
// children, generated from the .proto file beside it ("make generate"). It
// holds no logic.
package edgeiov1
