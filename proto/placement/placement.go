// Package placement says whether a place has what a job asks for beyond room:
// devices, labels, runtimes, and no taint that it does not tolerate.
//
// It is pure. A node uses it to admit jobs, and the orchestrators above use it
// to choose among places that they know less of, so that all tiers mean the
// same. Where something is not known, the answer is that it may be so: whoever
// knows more refuses.
package placement

import (
	"slices"
	"strconv"
	"strings"

	"github.com/edgeio/edgeio/proto/job"
)

// Traits are what is known of the nodes of a place.
type Traits struct {
	Labels    map[string][]string // values by key; a node has one each
	Truncated bool                // there may be more labels
	Several   bool                // of several nodes: each thing is so on at least one of them
	Runtimes  map[string]Runtime
}

// Runtime is what is known of a runtime; of several nodes, the highest version
// and all features.
type Runtime struct {
	Version  string
	Features []string // sorted
}

// FeatureDevices is the feature of a runtime that hands devices over. It is
// drivers.FeatureDevices.
const FeatureDevices = "devices"

// NodeLabels are the labels of one node as Traits have them.
func NodeLabels(labels map[string]string) map[string][]string {
	out := make(map[string][]string, len(labels))
	for k, v := range labels {
		out[k] = []string{v}
	}
	return out
}

// Meets reports whether the place may meet the condition.
func (t *Traits) Meets(c job.Constraint) bool {
	if t == nil {
		t = &Traits{}
	}
	values, has := t.Labels[c.Label]
	among := slices.ContainsFunc(values, func(v string) bool { return slices.Contains(c.Values, v) })
	op := c.Operator
	if op == "" && len(c.Values) > 0 {
		op = job.In
	}
	switch op {
	case job.In:
		return among || t.Truncated
	case job.NotIn:
		return !among || t.Several
	case job.NotExists:
		return !has || t.Several
	default:
		return has || t.Truncated
	}
}

// Unmet says why a condition is not met, in words that follow "it" or a name;
// empty if it may be met.
func (t *Traits) Unmet(c job.Constraint) string {
	switch {
	case t.Meets(c):
		return ""
	case t != nil && t.Several:
		return "has no node that meets the constraint " + c.String()
	case t == nil || len(t.Labels[c.Label]) == 0:
		return "does not meet the constraint " + c.String() + ": it has no label " + c.Label
	}
	return "does not meet the constraint " + c.String() + ": its label is " + c.Label + "=" + t.Labels[c.Label][0]
}

// RuntimeLacks says what the runtime that the job wants lacks, in words as
// Unmet; empty if nothing, or if nothing is known of the runtime.
func (t *Traits) RuntimeLacks(j *job.Job) string {
	want := j.Requirements
	features := want.Features
	none := job.Accelerator{}
	if len(want.Devices) > 0 || want.GPU != none || want.VPU != none || want.NPU != none || want.FPGA != none {
		features = append(slices.Clip(features), FeatureDevices)
	}
	if t == nil || want.RuntimeVersion == "" && len(features) == 0 {
		return ""
	}
	r, known := t.Runtimes[j.Runtime]
	if !known {
		return ""
	}
	if want.RuntimeVersion != "" && !AtLeast(r.Version, want.RuntimeVersion) {
		have := r.Version
		if have == "" {
			have = "unknown"
		}
		if t.Several {
			have += " at most"
		}
		return "has no runtime " + j.Runtime + " of version " + want.RuntimeVersion + " or higher: its version is " + have
	}
	for _, f := range features {
		if !slices.Contains(r.Features, f) {
			return "has no runtime " + j.Runtime + " with the feature " + f
		}
	}
	return ""
}

// Untolerated returns the first taint with that effect that the job does not
// tolerate, or nil.
func Untolerated(j *job.Job, taints []job.Taint, effect job.Effect) *job.Taint {
	for i, t := range taints {
		if t.Effect == effect && !j.Tolerates(t) {
			return &taints[i]
		}
	}
	return nil
}

// AtLeast compares versions by the numbers they begin with: 20.10.24+dfsg1 is
// at least 20.10. A version without a number is less than any.
func AtLeast(have, want string) bool { return slices.Compare(numbers(have), numbers(want)) >= 0 }

// numbers are those at the beginning of a version, without zeros at the end.
func numbers(version string) []int {
	var out []int
	version = strings.TrimPrefix(version, "v")
	for {
		n := 0
		for n < len(version) && version[n] >= '0' && version[n] <= '9' {
			n++
		}
		v, err := strconv.Atoi(version[:n])
		if err != nil {
			break
		}
		out = append(out, v)
		if version = version[n:]; !strings.HasPrefix(version, ".") {
			break
		}
		version = version[1:]
	}
	for len(out) > 1 && out[len(out)-1] == 0 {
		out = out[:len(out)-1]
	}
	return out
}
