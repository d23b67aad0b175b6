// Package orchestrator is what the root and every cluster do alike: keep
// children (clusters or worker nodes), place instances of jobs on them, make
// their assignments so, and take their reports. The tiers differ only in
// where instances come from (users at the root, the parent in a cluster) and
// in who is told of their changes.
//
// # The way of data
//
//	users ──Deploy──▶ ┌──────────────────────┐ ──Apply(assignments)──▶ child
//	parent ──Apply──▶ │ Core: jobs, instances│
//	                  │ children; one writer │ ◀─UpdateOffer, Status── child
//	Watch, Outbox ◀── └──────────────────────┘
//
// # Who owns what
//
// Core owns the tables of jobs, instances and children. All changes go through
// one goroutine (Run), in batches: each command changes a transaction, the
// batch is written to the store in one commit, and only then does anything
// leave the process: answers, assignments, events. So nothing that others were
// told is ever lost, and many commands share one write to disk.
//
// What is known of children only while they are connected (session, offer,
// usage) is kept in memory beside the tables and is not stored.
package orchestrator
