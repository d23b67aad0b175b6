package job

import (
	"strings"
	"time"
)

// Normalize puts the defaults in, and writes what has several names or forms
// in one. It is idempotent, and leaves alone what Validate would refuse.
func (j *Job) Normalize() {
	if name, ok := aliases[j.Runtime]; ok {
		j.Runtime = name
	}
	j.SHA256 = strings.ToLower(strings.TrimPrefix(j.SHA256, "sha256:"))
	orElse(&j.Kind, Service)
	orElse(&j.Replicas, 1)
	for i := range j.Ports {
		orElse(&j.Ports[i].Protocol, "tcp")
	}
	j.normalizePlace()
	j.normalizeRestart()
	j.normalizeStop()
	// JSON does not tell empty from absent.
	if len(j.Command) == 0 {
		j.Command = nil
	}
	if len(j.Args) == 0 {
		j.Args = nil
	}
	if len(j.Env) == 0 {
		j.Env = nil
	}
	if len(j.Ports) == 0 {
		j.Ports = nil
	}
}

func (j *Job) normalizeRestart() {
	policy := RestartAlways
	if j.Kind == Batch {
		policy = RestartOnFailure
	}
	orElse(&j.Restart.Policy, policy)
	if j.Restart.Policy == RestartOnFailure {
		orElse(&j.Restart.Attempts, 3)
	}
	orElse(&j.Restart.Backoff, Duration(time.Second))
}

func (j *Job) normalizeStop() {
	if j.Stop.Grace == nil {
		grace := Duration(10 * time.Second)
		j.Stop.Grace = &grace
	}
	orElse(&j.Stop.Signal, "SIGTERM")
	j.Stop.Signal = signal(j.Stop.Signal)
}

// signal is the full name of a signal that may be written "TERM" or "sigterm".
func signal(s string) string {
	return "SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")
}

// orElse sets what is not said.
func orElse[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
