package job

import (
	"slices"
	"strings"
)

// Accelerator asks for devices of one kind. What is not said may be anything.
type Accelerator struct {
	// How many, each another device. Default 1.
	Count int `json:"count,omitempty"`
	// Vendor of each, as "edgeagent capabilities" names it; a part of the name is enough, in small or capital letters.
	Vendor string `json:"vendor,omitempty"`
	// Model of each; a part of the name is enough, in small or capital letters.
	Model string `json:"model,omitempty"`
	// Least memory of its own that each has, in MB (1 MB is 1,000,000 bytes).
	Memory int64 `json:"memory,omitempty"`
}

// DeviceRequest asks for devices by their kind, or for one by its id or path.
type DeviceRequest struct {
	// Kind of the devices.
	Kind string `json:"kind,omitempty"`
	// Id of the device, as "edgeagent capabilities" shows it.
	ID string `json:"id,omitempty"`
	// Path of the device, below /dev/.
	Path string `json:"path,omitempty"`
	// How many, each another device. Default 1, which is all that an id or a path can name.
	Count int `json:"count,omitempty"`
}

// Operator says how a label is compared.
type Operator string

// The operators. As in Kubernetes, a node without the label passes not_in.
const (
	In        Operator = "in"
	NotIn     Operator = "not_in"
	Exists    Operator = "exists"
	NotExists Operator = "not_exists"
)

// Constraint is a condition on a label of a node.
type Constraint struct {
	// Key of the label, such as edgeio.dev/board.
	Label string `json:"label"`
	// How it is compared. Default: in with values, exists without.
	Operator Operator `json:"operator,omitempty"`
	// Values, of which in wants one, and not_in none.
	Values []string `json:"values,omitempty"`
}

// Affinity is a wish for a label of a node.
type Affinity struct {
	// Key of the label, such as edgeio.dev/board.
	Label string `json:"label"`
	// How it is compared. Default: in with values, exists without.
	Operator Operator `json:"operator,omitempty"`
	// Values, of which in wants one, and not_in none.
	Values []string `json:"values,omitempty"`
	// How much the wish counts, from 1 to 100; negative, to -100: such nodes are avoided. Default 1.
	Weight int `json:"weight,omitempty"`
}

// Constraint is the condition of the wish.
func (a Affinity) Constraint() Constraint { return Constraint{a.Label, a.Operator, a.Values} }

// String is the short form where there is one.
func (c Constraint) String() string {
	switch c.Operator {
	case Exists:
		return c.Label
	case NotExists:
		return "!" + c.Label
	}
	sign := "="
	if c.Operator == NotIn {
		sign = "!="
	}
	return c.Label + sign + strings.Join(c.Values, "|")
}

// Effect says what a taint does to jobs that do not tolerate it.
type Effect string

// The effects.
const (
	NoSchedule       Effect = "no_schedule"        // they are not placed there
	PreferNoSchedule Effect = "prefer_no_schedule" // they are placed there if there is no other place
)

// Toleration makes a job put up with taints.
type Toleration struct {
	// Key of the taint.
	Key string `json:"key"`
	// Value of the taint. Default: any.
	Value string `json:"value,omitempty"`
	// Effect of the taint. Default: any.
	Effect Effect `json:"effect,omitempty"`
}

// Taint keeps jobs away from a node, but for those that tolerate it.
type Taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect Effect `json:"effect"`
}

// String is the form that ParseTaint reads.
func (t Taint) String() string {
	s := t.Key
	if t.Value != "" {
		s += "=" + t.Value
	}
	return s + ":" + string(t.Effect)
}

// Tolerates reports whether the toleration is for such a taint.
func (t Toleration) Tolerates(taint Taint) bool {
	return t.Key == taint.Key && (t.Value == "" || t.Value == taint.Value) && (t.Effect == "" || t.Effect == taint.Effect)
}

// Tolerates reports whether the job puts up with a taint.
func (j *Job) Tolerates(taint Taint) bool {
	return slices.ContainsFunc(j.Tolerations, func(t Toleration) bool { return t.Tolerates(taint) })
}

// ParseTaint reads "key", "key=value", "key:effect" and "key=value:effect". The
// default effect is no_schedule.
func ParseTaint(s string) (Taint, bool) {
	t := shortToleration(s)
	taint := Taint(t)
	orElse(&taint.Effect, NoSchedule)
	return taint, labelKeyRE.MatchString(t.Key) && labelRE.MatchString(t.Value) && slices.Contains(effects, string(taint.Effect))
}

// ValidLabel reports whether a node may have such a label: what constraints can
// be written for.
func ValidLabel(key, value string) bool {
	return labelKeyRE.MatchString(key) && labelRE.MatchString(value)
}

// shortToleration reads the short form; whether it makes sense is for others to say.
func shortToleration(s string) Toleration {
	var t Toleration
	rest := s
	// A value may have a colon, an effect has none.
	if i := strings.LastIndexByte(s, ':'); i >= 0 && slices.Contains(effects, s[i+1:]) {
		rest, t.Effect = s[:i], Effect(s[i+1:])
	}
	t.Key, t.Value, _ = strings.Cut(rest, "=")
	return t
}

// shortConstraint reads "key", "!key", "key=value" and "key!=value".
func shortConstraint(s string) Constraint {
	key, value, equals := strings.Cut(s, "=")
	switch name, not := strings.CutSuffix(key, "!"); {
	case equals && not:
		return Constraint{name, NotIn, []string{value}}
	case equals:
		return Constraint{key, In, []string{value}}
	}
	if name, not := strings.CutPrefix(s, "!"); not {
		return Constraint{Label: name, Operator: NotExists}
	}
	return Constraint{Label: s, Operator: Exists}
}

func (j *Job) normalizePlace() {
	r := &j.Requirements
	for _, a := range []*Accelerator{&r.GPU, &r.VPU, &r.NPU, &r.FPGA} {
		if *a != (Accelerator{}) {
			orElse(&a.Count, 1)
		}
	}
	for i := range r.Devices {
		orElse(&r.Devices[i].Count, 1)
	}
	for i := range j.Constraints {
		orElse(&j.Constraints[i].Operator, defaultOperator(j.Constraints[i].Values))
	}
	for i := range j.Affinities {
		orElse(&j.Affinities[i].Operator, defaultOperator(j.Affinities[i].Values))
		orElse(&j.Affinities[i].Weight, 1)
	}
	dropEmpty(&r.Devices)
	dropEmpty(&r.Features)
	dropEmpty(&j.Constraints)
	dropEmpty(&j.Affinities)
	dropEmpty(&j.Tolerations)
}

// dropEmpty makes nil of an empty list: JSON does not tell empty from absent.
func dropEmpty[T any](list *[]T) {
	if len(*list) == 0 {
		*list = nil
	}
}

func defaultOperator(values []string) Operator {
	if len(values) > 0 {
		return In
	}
	return Exists
}
