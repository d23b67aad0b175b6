package api

import (
	"slices"

	"github.com/edgeio/edgeio/proto/job"
)

// severity orders the states by how much they need attention: what is wrong,
// then what is on its way, then what is well, then what is over.
var severity = []job.State{
	job.Failed, job.Dangling, job.NotDeployable,
	job.Migrating, job.Scaling,
	job.Requested, job.ScheduledCluster, job.ScheduledNode,
	job.Running, job.Completed, job.Terminated,
}

// RollUp is the state of a job with these instances: the state that most needs
// attention. A job without an instance is REQUESTED, or TERMINATED if that is
// what the user wants.
func RollUp(desired Desired, instances []Instance) job.State {
	if len(instances) == 0 {
		if desired == DesiredTerminated {
			return job.Terminated
		}
		return job.Requested
	}
	return slices.MinFunc(instances, func(a, b Instance) int {
		return slices.Index(severity, a.State) - slices.Index(severity, b.State)
	}).State
}
