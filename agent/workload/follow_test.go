package workload_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeio/edgeio/agent/workload"
	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/fake"
	"github.com/edgeio/edgeio/proto/job"
)

// A batch job that has ended keeps its workload, for its output; whoever
// follows that must not wait for a removal that may never come.
func TestFollowingEndsWithTheInstance(t *testing.T) {
	for name, tt := range map[string]struct {
		tail int
		slow bool // the reader is still busy when the end comes
		want string
	}{
		"all":           {-1, false, "0123456789"},
		"slow reader":   {-1, true, "0123456789"},
		"none of it":    {0, false, "89"},
		"last ones too": {3, false, "56789"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, func(drivers.Spec) fake.Script {
					var sc fake.Script
					for i := range 10 {
						step := fake.Step{Text: fmt.Sprintln(i)}
						if i == 8 { // entries before, and after, share their times
							step.After = time.Minute
						}
						sc.Steps = append(sc.Steps, step)
					}
					return sc
				})
				n.put(assign("a", 1, func(j *job.Job) { j.Kind = job.Batch }))
				synctest.Wait()
				var got strings.Builder
				err := n.Logs(t.Context(), "a", drivers.LogOptions{Follow: true, Tail: tt.tail}, func(e drivers.LogEntry) error {
					if tt.slow {
						time.Sleep(10 * time.Minute)
					}
					got.Write(e.Data)
					return nil
				})
				if lines := strings.ReplaceAll(got.String(), "\n", ""); err != nil || lines != tt.want {
					t.Errorf("got %q, %v; want %q", lines, err, tt.want)
				}
				n.wantState("a", job.Completed)
			})
		})
	}
}

func TestFollowingGoesOnAcrossRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, func(drivers.Spec) fake.Script {
			return fake.Script{Steps: []fake.Step{{Text: "x"}}, Code: 1}
		})
		n.put(assign("a", 1, func(j *job.Job) {
			j.Kind, j.Restart = job.Batch, job.Restart{Policy: job.RestartOnFailure, Attempts: 2}
		}))
		var got strings.Builder
		err := n.Logs(t.Context(), "a", drivers.LogOptions{Follow: true, Tail: -1}, func(e drivers.LogEntry) error {
			got.Write(e.Data)
			return nil
		})
		if err != nil || got.String() != "xxx" {
			t.Errorf("got %q, %v", got.String(), err)
		}
		n.apply(workload.Batch{Remove: []string{"a"}})
	})
}
