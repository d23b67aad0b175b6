// Package workload makes what the parent wants of this node true: it holds the
// assignments, drives each through its life with the drivers, restarts it by
// its policy, and keeps the history that is owed to the parent.
//
// It has two halves. The pure one is the table of what an Instance does next:
// Step takes an instance and an event and returns the instance after it, Next
// says which action its phase asks for. The other is the Supervisor: it runs
// those actions against the drivers, at most one at a time per instance,
// stores every step, and answers for all instances together.
//
//	          ┌────────────── an assignment of a higher generation ───────────┐
//	          ▼                                                               │
//	PhaseClear ─▶ PhaseCreate ─▶ PhaseStart ─▶ PhaseRun ─▶ PhaseEnded          │
//	                  ▲              ▲            │            │           (any phase)
//	                  │ gone         └─PhaseWait◀─┘            │              │
//	                  └──────────────── restart by policy      ▼              ▼
//	                                                       PhaseStop ─▶ PhaseRemove ─▶ PhaseGone
//
// What is intended is stored before it is acted upon, so that an agent that is
// killed at any moment finds its way: PhaseCreate without a handle is resolved
// by what the driver lists, all else by asking for the handle's status.
//
// The package does not talk to the parent; package uplink does.
package workload
