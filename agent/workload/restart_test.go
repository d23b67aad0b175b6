package workload

import (
	"strings"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/proto/job"
)

func TestJudge(t *testing.T) {
	crash := ending{what: "exited with code 1", ran: time.Second}
	well := ending{what: "exited with code 0", success: true, ran: time.Second}
	reboot := ending{what: "lost", reboot: true, ran: time.Second}
	after := func(e ending, failures int, ran time.Duration) ending {
		e.failures, e.ran = failures, ran
		return e
	}
	always := job.Restart{Policy: job.RestartAlways}
	onFailure := job.Restart{Policy: job.RestartOnFailure}
	never := job.Restart{Policy: job.RestartNever}
	for _, c := range []struct {
		name     string
		kind     job.Kind
		policy   job.Restart
		end      ending
		state    job.State // empty: restarted
		delay    time.Duration
		failures int
		reason   string
	}{
		{"service restarts by default", job.Service, job.Restart{}, crash, "", time.Second, 1, "restart 1 in 1s"},
		{"service that ends well restarts", job.Service, always, well, "", time.Second, 1, "exited with code 0"},
		{"service that may end well is over", job.Service, onFailure, well, job.Failed, 0, 0, "not restarted"},
		{"batch that ends well", job.Batch, always, well, job.Completed, 0, 0, "exited with code 0"},
		{"batch restarts by default", job.Batch, job.Restart{}, crash, "", time.Second, 1, "restart 1"},
		{"futile", job.Service, always, ending{what: "exited with code 64", futile: true}, job.Failed, 0, 0, "it would end the same way"},
		{"never", job.Service, never, crash, job.Failed, 0, 0, "restart policy never"},
		{"back-off doubles", job.Service, always, after(crash, 3, time.Second), "", 8 * time.Second, 4, "restart 4 in 8s"},
		{"back-off is bounded", job.Service, always, after(crash, 40, time.Second), "", job.MaxBackoff, 41, ""},
		{"own back-off", job.Service, job.Restart{Policy: job.RestartAlways, Backoff: job.Duration(10 * time.Second)}, after(crash, 1, time.Second), "", 20 * time.Second, 2, ""},
		{"default attempts are over", job.Batch, onFailure, after(crash, 3, time.Second), job.Failed, 0, 3, "given up after 3 restarts"},
		{"own attempts", job.Batch, job.Restart{Policy: job.RestartOnFailure, Attempts: 5}, after(crash, 3, time.Second), "", 8 * time.Second, 4, ""},
		{"always with a bound", job.Service, job.Restart{Policy: job.RestartAlways, Attempts: 1}, after(crash, 1, time.Second), job.Failed, 0, 1, "given up after 1 restart"},
		{"a good run begins anew", job.Service, always, after(crash, 7, time.Minute), "", time.Second, 1, ""},
		{"ten back-offs are a good run", job.Service, always, after(crash, 2, 20*time.Second), "", time.Second, 1, ""},
		{"less is not", job.Service, always, after(crash, 2, 19*time.Second), "", 4 * time.Second, 3, ""},
		{"a good run gives attempts back", job.Batch, onFailure, after(crash, 3, time.Minute), "", time.Second, 1, ""},
		{"reboot: always", job.Service, always, reboot, "", 0, 0, "the node was restarted"},
		{"reboot: on failure", job.Batch, onFailure, after(reboot, 2, time.Second), "", 0, 2, "the node was restarted"},
		{"reboot: never", job.Service, never, reboot, job.Failed, 0, 0, "the node was restarted"},
		{"reboot: done before", job.Batch, onFailure, ending{what: "exited with code 0", success: true, reboot: true}, job.Completed, 0, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := judge(c.kind, c.policy, c.end)
			if v.restart != (c.state == "") || v.state != c.state || v.delay != c.delay || v.failures != c.failures {
				t.Errorf("got %+v", v)
			}
			if !strings.Contains(v.reason, c.reason) {
				t.Errorf("reason %q, want %q in it", v.reason, c.reason)
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	for want, e := range map[string]drivers.Exit{
		"exited with code 3":                                  {Code: 3},
		"killed by signal 9 (code 137)":                       {Code: 137},
		"out of memory: it used more than its 50 MB":          {Code: 137, OOMKilled: true},
		"lost: nobody saw it end (the machine was restarted)": {Code: -1, Lost: true, Reason: "the machine was restarted"},
	} {
		if got := describe(e, 50); got != want {
			t.Errorf("%+v: %q, want %q", e, got, want)
		}
	}
}
