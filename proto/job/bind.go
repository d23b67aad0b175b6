package job

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// binder puts a tree into a Job. It reports what cannot be told from the Job
// afterwards: what is unknown, said twice, missing, or of the wrong type. What
// the values may be is the business of validate.go.
type binder struct {
	problems []Problem
	at       map[string]pos // of the values, by path
}

// field is one key that a mapping may have.
type field struct {
	name string
	need string // what a required field is for; empty: it is optional
	bind func(n *node, path string)
}

func (b *binder) fail(at pos, path, format string, args ...any) {
	b.problems = append(b.problems, at.problem(path, format, args...))
}

func (b *binder) job(root *node) *Job {
	j := &Job{}
	b.mapping(root, "", "key: value lines, such as api_version: v0.1",
		field{"api_version", "want api_version: " + APIVersion, b.written(&j.APIVersion)},
		field{"job_name", "want a name for the job", b.text(&j.Name)},
		field{"image", "want what to run", b.text(&j.Image)},
		field{"image_runtime", "want one of " + strings.Join(Runtimes, ", "), b.text(&j.Runtime)},
		field{"sha256", "", b.written(&j.SHA256)},
		field{"kind", "", b.text((*string)(&j.Kind))},
		field{"requirements", "", b.requirements(&j.Requirements)},
		field{"cluster_location", "", b.text(&j.ClusterLocation)},
		field{"worker_node", "", b.text(&j.WorkerNode)},
		field{"constraints", "", b.constraints(&j.Constraints)},
		field{"affinities", "", b.affinities(&j.Affinities)},
		field{"tolerations", "", b.tolerations(&j.Tolerations)},
		field{"command", "", b.words(&j.Command)},
		field{"args", "", b.words(&j.Args)},
		field{"env", "", b.env(&j.Env)},
		field{"workdir", "", b.text(&j.Workdir)},
		field{"user", "", b.written(&j.User)},
		field{"arch", "", b.text(&j.Arch)},
		field{"ports", "", b.ports(&j.Ports)},
		field{"replicas", "", b.replicas(&j.Replicas)},
		field{"restart", "", b.restart(&j.Restart)},
		field{"stop", "", b.stop(&j.Stop)},
	)
	return j
}

// later are fields that are planned and not there yet.
var later = map[string]bool{
	"volumes": true, "labels": true, "spread": true, "health": true, "secrets": true, "registry": true, "group": true,
}

// mapping binds the entries of n to the fields.
func (b *binder) mapping(n *node, path, want string, fields ...field) {
	if n.kind != mapping {
		b.fail(n.pos, path, "want %s; this is %s", want, n)
		return
	}
	b.at[path] = n.pos
	known := make([]string, len(fields))
	bind := make(map[string]func(*node, string), len(fields))
	for i, f := range fields {
		known[i], bind[f.name] = f.name, f.bind
	}
	first := map[string]pos{}
	for _, e := range n.entries {
		p := join(path, e.key)
		if at, twice := first[e.key]; twice {
			b.fail(e.pos, p, "said twice: first in line %d; delete one of them", at.line)
			continue
		}
		first[e.key] = e.pos
		switch {
		case bind[e.key] == nil:
			b.fail(e.pos, p, "%s", unknownField(path, e.key, known))
		case e.value.kind != null:
			b.at[p] = e.value.pos
			bind[e.key](e.value, p)
		}
	}
	for _, f := range fields {
		if f.need == "" {
			continue
		}
		p := join(path, f.name)
		if at, there := first[f.name]; !there {
			b.fail(n.pos, p, "missing; %s", f.need)
		} else if _, said := b.at[p]; !said {
			b.fail(at, p, "has no value; %s", f.need)
		}
	}
}

// requirementNames are often written where the file begins.
var requirementNames = []string{"cpu", "memory", "disk", "gpu", "vpu", "npu", "fpga", "devices", "runtime_version", "features"}

func unknownField(path, key string, known []string) string {
	switch {
	case later[key]:
		return "is not supported by this release yet; delete it"
	case path == "" && slices.Contains(requirementNames, key):
		return "unknown field; did you mean requirements." + key + "?"
	}
	if guess := didYouMean(key, known); guess != "" {
		return "unknown field" + guess
	}
	return "unknown field; want one of " + strings.Join(known, ", ")
}

// text binds what is a text and nothing else.
func (b *binder) text(to *string) func(*node, string) {
	return func(n *node, path string) {
		switch {
		case n.kind == text:
			*to = n.text
		case n.scalar():
			b.fail(n.pos, path, "want a text; this is %s: put it in quotes if it is meant so", n)
		default:
			b.fail(n.pos, path, "want a text; this is %s", n)
		}
	}
}

// written binds any scalar as it is written.
func (b *binder) written(to *string) func(*node, string) {
	return func(n *node, path string) {
		if !n.scalar() {
			b.fail(n.pos, path, "want a text; this is %s", n)
			return
		}
		*to = n.text
	}
}

// words binds a list of words, or one text that is split into words.
func (b *binder) words(to *[]string) func(*node, string) {
	return func(n *node, path string) {
		switch {
		case n.kind == list:
			for i, item := range n.items {
				var word string
				p := index(path, i)
				b.at[p] = item.pos
				b.written(&word)(item, p)
				*to = append(*to, word)
			}
		case n.scalar():
			list, err := words(n.text)
			if err != nil {
				b.fail(n.pos, path, "%v", err)
			}
			*to = list
		default:
			b.fail(n.pos, path, "want a list of texts, or one text; this is %s", n)
		}
	}
}

func (b *binder) env(to *map[string]string) func(*node, string) {
	return func(n *node, path string) {
		if n.kind != mapping {
			b.fail(n.pos, path, "want NAME: value lines, such as PORT: 8080; this is %s", n)
			return
		}
		env := make(map[string]string, len(n.entries))
		for _, e := range n.entries {
			p := join(path, e.key)
			if _, twice := env[e.key]; twice {
				b.fail(e.pos, p, "said twice; delete one of them")
				continue
			}
			env[e.key] = ""
			b.at[p] = e.pos
			var value string
			if e.value.kind == null {
				b.fail(e.pos, p, `has no value; want "" for an empty one`)
			} else {
				b.written(&value)(e.value, p)
			}
			env[e.key] = value
		}
		*to = env
	}
}

func (b *binder) requirements(r *Requirements) func(*node, string) {
	return func(n *node, path string) {
		b.mapping(n, path, "a mapping, such as cpu: 2 and memory: 1000",
			field{"cpu", "", b.float(&r.CPU, "a number of cores, such as 2 or 0.5")},
			field{"memory", "", b.integer(&r.Memory, 0, maxMegabytes, "a whole number of MB without a unit, such as 1000")},
			field{"disk", "", b.integer(&r.Disk, 0, maxMegabytes, "a whole number of MB without a unit, such as 1000")},
			field{"gpu", "", b.accelerator(&r.GPU)},
			field{"vpu", "", b.accelerator(&r.VPU)},
			field{"npu", "", b.accelerator(&r.NPU)},
			field{"fpga", "", b.accelerator(&r.FPGA)},
			field{"devices", "", b.devices(&r.Devices)},
			field{"runtime_version", "", b.written(&r.RuntimeVersion)},
			field{"features", "", b.texts(&r.Features, "a list of features, such as [exec]")},
		)
	}
}

func (b *binder) replicas(to *int) func(*node, string) {
	return func(n *node, path string) {
		var v int64
		before := len(b.problems)
		b.integer(&v, math.MinInt32, math.MaxInt32, "a whole number")(n, path)
		if v < 1 && len(b.problems) == before {
			b.fail(n.pos, path, "want a whole number from 1; this is %s", n)
		}
		*to = int(v)
	}
}

func (b *binder) restart(r *Restart) func(*node, string) {
	return func(n *node, path string) {
		if n.scalar() {
			b.written((*string)(&r.Policy))(n, path)
			b.at[join(path, "policy")] = n.pos
			return
		}
		var attempts int64
		b.mapping(n, path, "one of "+strings.Join(policies, ", ")+", or a mapping with policy, attempts and backoff",
			field{"policy", "", b.written((*string)(&r.Policy))},
			field{"attempts", "", b.integer(&attempts, 0, maxAttempts, "a whole number of restarts")},
			field{"backoff", "", b.duration(&r.Backoff)},
		)
		r.Attempts = int(attempts)
	}
}

func (b *binder) stop(s *Stop) func(*node, string) {
	return func(n *node, path string) {
		b.mapping(n, path, "a mapping, such as grace: 10s",
			field{"grace", "", func(n *node, path string) {
				s.Grace = new(Duration)
				b.duration(s.Grace)(n, path)
			}},
			field{"signal", "", b.text(&s.Signal)},
		)
	}
}

// strict is how a number is written where a number is wanted: as in JSON, and
// with what YAML adds that is not ambiguous.
var strict = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*|)(\.[0-9]*)?([eE][-+]?[0-9]+)?$`)

func (b *binder) float(to *float64, want string) func(*node, string) {
	return func(n *node, path string) {
		v, err := strconv.ParseFloat(n.text, 64)
		if n.kind != number || !strict.MatchString(n.text) || err != nil {
			b.fail(n.pos, path, "want %s; this is %s", want, n)
			return
		}
		*to = v
	}
}

// integer binds a whole number, "1000.0" and "1e3" included.
func (b *binder) integer(to *int64, least, most int64, want string) func(*node, string) {
	return func(n *node, path string) {
		var f float64
		before := len(b.problems)
		if b.float(&f, want)(n, path); len(b.problems) > before {
			return
		}
		// Every bound is below 2^53, up to which a float64 is exact.
		switch v := int64(max(min(f, 1<<53), -1<<53)); {
		case float64(v) != f && v > -1<<53 && v < 1<<53:
			b.fail(n.pos, path, "want %s; this is %s", want, n)
		case v < least || v > most:
			b.fail(n.pos, path, "want %s, from %d to %d; this is %s", want, least, most, n)
		default:
			*to = v
		}
	}
}

func (b *binder) duration(to *Duration) func(*node, string) {
	return func(n *node, path string) {
		var err error
		switch {
		case n.kind == number:
			var s float64
			before := len(b.problems)
			if b.float(&s, errDuration.Error()[len("want "):])(n, path); len(b.problems) > before {
				return
			}
			*to, err = seconds(s)
		case n.kind == text:
			*to, err = parseDuration(n.text)
		default:
			err = errDuration
		}
		if err != nil {
			b.fail(n.pos, path, "%v; this is %s", err, n)
		}
	}
}

func join(path, key string) string {
	if !simpleKey.MatchString(key) {
		key = quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

var simpleKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
