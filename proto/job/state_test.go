package job

import (
	"strings"
	"testing"
)

// matrix says for each state (row) which may follow (column): x or not.
const matrix = `
                   REQ  CLU  NOD  RUN  FAI  TER  MIG  SCA  NOT  DAN  COM
(none)              x    .    .    .    .    .    .    .    .    .    .
REQUESTED           .    x    x    .    .    x    .    .    x    .    .
SCHEDULED_CLUSTER   x    .    x    .    .    x    x    .    x    x    .
SCHEDULED_NODE      x    x    .    x    x    x    x    .    x    x    x
RUNNING             .    .    x    .    x    x    x    x    .    x    x
FAILED              x    .    .    .    .    x    .    .    .    .    .
TERMINATED          .    .    .    .    .    .    .    .    .    .    .
MIGRATING           .    x    x    x    x    x    .    .    x    x    x
SCALING             .    x    x    x    x    x    .    .    .    x    x
NOT_DEPLOYABLE      x    x    x    .    .    x    .    .    .    .    .
DANGLING            x    x    x    x    x    x    .    .    x    .    x
COMPLETED           .    .    .    .    .    x    .    .    .    .    .
`

// columns are the heads of the matrix in its order.
var columns = []State{
	Requested, ScheduledCluster, ScheduledNode, Running, Failed, Terminated,
	Migrating, Scaling, NotDeployable, Dangling, Completed,
}

func TestEveryMove(t *testing.T) {
	rows := strings.Split(strings.TrimSpace(matrix), "\n")[1:]
	if len(rows) != len(States)+1 || len(columns) != len(States) {
		t.Fatalf("the matrix has %d rows and %d columns for %d states", len(rows), len(columns), len(States))
	}
	for _, row := range rows {
		cells := strings.Fields(row)
		from := State(strings.Trim(cells[0], "()"))
		if from == "none" {
			from = ""
		} else if !from.Valid() {
			t.Fatalf("%q is not a state", from)
		}
		for i, to := range columns {
			want := cells[i+1] == "x"
			if got := CanFollow(from, to); got != want {
				t.Errorf("CanFollow(%q, %q) = %v, want %v", from, to, got, want)
			}
			if err := Move(from, to); (err == nil) != want {
				t.Errorf("Move(%q, %q) = %v, want an error: %v", from, to, err, !want)
			} else if err != nil && !strings.Contains(err.Error(), string(to)) {
				t.Errorf("Move(%q, %q) = %q, want it to name both states", from, to, err)
			}
		}
		for _, to := range []State{"", "PAUSED"} {
			if CanFollow(from, to) || CanFollow(to, from) && to != "" {
				t.Errorf("%q is no state and may follow %q, or be followed by it", to, from)
			}
		}
	}
}

// TestFlows walks the ways that instances really take.
func TestFlows(t *testing.T) {
	tests := map[string]string{
		"service":                    "REQUESTED SCHEDULED_CLUSTER SCHEDULED_NODE RUNNING TERMINATED",
		"batch":                      "REQUESTED SCHEDULED_CLUSTER SCHEDULED_NODE RUNNING COMPLETED",
		"node attached to the root":  "REQUESTED SCHEDULED_NODE RUNNING",
		"cluster refuses":            "REQUESTED SCHEDULED_CLUSTER REQUESTED SCHEDULED_CLUSTER SCHEDULED_NODE RUNNING",
		"node refuses":               "REQUESTED SCHEDULED_CLUSTER SCHEDULED_NODE SCHEDULED_CLUSTER SCHEDULED_NODE RUNNING",
		"nobody takes it, then room": "REQUESTED SCHEDULED_CLUSTER NOT_DEPLOYABLE SCHEDULED_CLUSTER SCHEDULED_NODE RUNNING",
		"restarts, then gives up":    "REQUESTED SCHEDULED_NODE RUNNING SCHEDULED_NODE RUNNING FAILED",
		"cannot even start":          "REQUESTED SCHEDULED_NODE FAILED REQUESTED SCHEDULED_NODE RUNNING",
		"node gone, placed anew":     "REQUESTED SCHEDULED_CLUSTER SCHEDULED_NODE RUNNING DANGLING REQUESTED SCHEDULED_CLUSTER SCHEDULED_NODE RUNNING",
		"node gone, no room":         "REQUESTED SCHEDULED_NODE RUNNING DANGLING NOT_DEPLOYABLE SCHEDULED_NODE RUNNING",
		"node gone and back":         "REQUESTED SCHEDULED_NODE RUNNING DANGLING RUNNING",
		"ended while cut off":        "REQUESTED SCHEDULED_NODE RUNNING DANGLING COMPLETED",
		"node rebooted":              "REQUESTED SCHEDULED_NODE RUNNING DANGLING SCHEDULED_NODE RUNNING",
		"migration":                  "REQUESTED SCHEDULED_CLUSTER SCHEDULED_NODE RUNNING MIGRATING SCHEDULED_CLUSTER SCHEDULED_NODE RUNNING",
		"migration refused":          "REQUESTED SCHEDULED_CLUSTER SCHEDULED_NODE RUNNING MIGRATING SCHEDULED_CLUSTER MIGRATING RUNNING",
	}
	for name, flow := range tests {
		from := State("")
		for s := range strings.FieldsSeq(flow) {
			if err := Move(from, State(s)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			from = State(s)
		}
	}
}

func TestReachability(t *testing.T) {
	reach := func(from State) map[State]bool {
		seen, todo := map[State]bool{from: true}, []State{from}
		for len(todo) > 0 {
			s := todo[0]
			todo = todo[1:]
			for _, to := range States {
				if CanFollow(s, to) && !seen[to] {
					seen[to] = true
					todo = append(todo, to)
				}
			}
		}
		return seen
	}
	fromStart := reach(Requested)
	for _, s := range States {
		if !fromStart[s] {
			t.Errorf("%s cannot be reached from REQUESTED", s)
		}
		if !reach(s)[Terminated] {
			t.Errorf("TERMINATED cannot be reached from %s", s)
		}
		if s.Ended() && (CanFollow(s, Running) || CanFollow(s, ScheduledNode)) {
			t.Errorf("%s is an end, and yet its node may go on with it", s)
		}
	}
}
