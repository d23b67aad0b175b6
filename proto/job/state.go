package job

import (
	"fmt"
	"slices"
)

// State is the state of one instance of a job (R11).
type State string

// The states.
const (
	Requested        State = "REQUESTED"         // wanted; no place chosen yet
	ScheduledCluster State = "SCHEDULED_CLUSTER" // given to a cluster
	ScheduledNode    State = "SCHEDULED_NODE"    // given to a node
	Running          State = "RUNNING"
	Failed           State = "FAILED"         // ended, and not started again
	Terminated       State = "TERMINATED"     // ended because the user wanted it
	Completed        State = "COMPLETED"      // a batch job that ended well
	Migrating        State = "MIGRATING"      // being moved to another place
	Scaling          State = "SCALING"        // being added or removed by a change of replicas
	NotDeployable    State = "NOT_DEPLOYABLE" // nobody can take it now; tried again when something changes
	Dangling         State = "DANGLING"       // its node or cluster does not answer
)

// moves is the one table of what may follow what. RUNNING to SCHEDULED_NODE is
// a restart by policy: the workload has ended and is started again. What comes
// back to NOT_DEPLOYABLE or REQUESTED, such as a lost node that still runs it,
// is a placement like any other, hence goes through SCHEDULED_NODE. A migration
// that its target refuses goes back to MIGRATING, and on to RUNNING where the
// old place still has it.
var moves = map[State][]State{
	"":               {Requested},
	Requested:        {ScheduledCluster, ScheduledNode, NotDeployable, Terminated},
	ScheduledCluster: {ScheduledNode, Requested, NotDeployable, Dangling, Terminated, Migrating},
	ScheduledNode:    {Running, Requested, ScheduledCluster, Failed, Completed, NotDeployable, Dangling, Terminated, Migrating},
	Running:          {ScheduledNode, Failed, Completed, Terminated, Dangling, Migrating, Scaling},
	NotDeployable:    {Requested, ScheduledCluster, ScheduledNode, Terminated},
	Dangling:         {Requested, ScheduledCluster, ScheduledNode, Running, Failed, Completed, Terminated, NotDeployable},
	Migrating:        {ScheduledCluster, ScheduledNode, Running, Failed, Completed, Dangling, NotDeployable, Terminated},
	Scaling:          {Running, ScheduledCluster, ScheduledNode, Failed, Completed, Dangling, Terminated},
	Failed:           {Requested, Terminated},
	Completed:        {Terminated},
	Terminated:       {},
}

// States are all states, in the order of the table in R11.
var States = []State{
	Requested, ScheduledCluster, ScheduledNode, Running, Failed, Terminated,
	Migrating, Scaling, NotDeployable, Dangling, Completed,
}

// CanFollow reports whether an instance in state from may go to state to.
// A state never follows itself.
func CanFollow(from, to State) bool { return slices.Contains(moves[from], to) }

// Move returns an error that names both states if to may not follow from.
func Move(from, to State) error {
	if !CanFollow(from, to) {
		return fmt.Errorf("state %q cannot follow %q", to, from)
	}
	return nil
}

// Valid reports whether s is one of States.
func (s State) Valid() bool { return slices.Contains(States, s) }

// Ended reports whether a workload in this state has come to its end and is
// not started again by its node: it holds no resources.
func (s State) Ended() bool {
	return s == Failed || s == Completed || s == Terminated
}
