package job

import "strings"

const (
	acceleratorForms = "a number of devices, or a mapping with count, vendor, model and memory"
	deviceForms      = "a path below /dev/, a kind, or a mapping with kind, id or path, and count"
	constraintForms  = `"key", "!key", "key=value", "key!=value", or a mapping with label, operator and values`
	tolerationForms  = `"key", "key=value", "key=value:effect", or a mapping with key, value and effect`
)

func (b *binder) accelerator(to *Accelerator) func(*node, string) {
	return func(n *node, path string) {
		if n.kind != mapping {
			b.count(&to.Count, 0, acceleratorForms)(n, path)
			b.at[join(path, "count")] = n.pos
			return
		}
		to.Count = 1
		b.mapping(n, path, acceleratorForms,
			field{"count", "", b.count(&to.Count, 1, "a number of devices")},
			field{"vendor", "", b.text(&to.Vendor)},
			field{"model", "", b.written(&to.Model)},
			field{"memory", "", b.integer(&to.Memory, 0, maxMegabytes, "a whole number of MB without a unit, such as 8000")},
		)
	}
}

func (b *binder) count(to *int, least int64, want string) func(*node, string) {
	return func(n *node, path string) {
		v := int64(*to)
		b.integer(&v, least, maxDeviceCount, want)(n, path)
		*to = int(v)
	}
}

func (b *binder) devices(to *[]DeviceRequest) func(*node, string) {
	return each(b, to, deviceForms, func(d *DeviceRequest, n *node, path string) {
		if n.kind == text {
			if strings.HasPrefix(n.text, "/") {
				d.Path = n.text
			} else {
				d.Kind = n.text
			}
			return
		}
		b.mapping(n, path, deviceForms,
			field{"kind", "", b.text(&d.Kind)},
			field{"id", "", b.text(&d.ID)},
			field{"path", "", b.text(&d.Path)},
			field{"count", "", b.count(&d.Count, 1, "a number of devices")},
		)
	})
}

func (b *binder) constraints(to *[]Constraint) func(*node, string) {
	return each(b, to, constraintForms, func(c *Constraint, n *node, path string) {
		if n.kind == text {
			*c = shortConstraint(n.text)
			return
		}
		b.mapping(n, path, constraintForms, b.condition(&c.Label, &c.Operator, &c.Values)...)
	})
}

func (b *binder) affinities(to *[]Affinity) func(*node, string) {
	return each(b, to, constraintForms, func(a *Affinity, n *node, path string) {
		if n.kind == text {
			c := shortConstraint(n.text)
			a.Label, a.Operator, a.Values = c.Label, c.Operator, c.Values
			return
		}
		var weight int64
		weigh := field{"weight", "", b.integer(&weight, -maxWeight, maxWeight, "a whole number but 0")}
		b.mapping(n, path, constraintForms, append(b.condition(&a.Label, &a.Operator, &a.Values), weigh)...)
		if at, said := b.at[join(path, "weight")]; said && weight == 0 && !b.failed(join(path, "weight")) {
			b.fail(at, join(path, "weight"), "want a whole number from 1 to %d, or from -%d to -1; this is 0", maxWeight, maxWeight)
		}
		a.Weight = int(weight)
	})
}

// failed reports whether there is a problem with the field already.
func (b *binder) failed(path string) bool {
	for _, p := range b.problems {
		if p.Field == path {
			return true
		}
	}
	return false
}

func (b *binder) condition(label *string, op *Operator, values *[]string) []field {
	return []field{
		{"label", "want the key of a label", b.text(label)},
		{"operator", "", b.text((*string)(op))},
		{"values", "", b.texts(values, "a list of values")},
	}
}

func (b *binder) tolerations(to *[]Toleration) func(*node, string) {
	return each(b, to, tolerationForms, func(t *Toleration, n *node, path string) {
		if n.kind == text {
			*t = shortToleration(n.text)
			return
		}
		b.mapping(n, path, tolerationForms,
			field{"key", "want the key of a taint", b.text(&t.Key)},
			field{"value", "", b.written(&t.Value)},
			field{"effect", "", b.text((*string)(&t.Effect))},
		)
	})
}

// texts binds a list of scalars as they are written.
func (b *binder) texts(to *[]string, want string) func(*node, string) {
	return each(b, to, want, func(s *string, n *node, path string) { b.written(s)(n, path) })
}

// each binds the entries of a list.
func each[T any](b *binder, to *[]T, want string, bind func(t *T, n *node, path string)) func(*node, string) {
	return func(n *node, path string) {
		if n.kind != list {
			b.fail(n.pos, path, "want a list, each of %s; this is %s", want, n)
			return
		}
		for i, item := range n.items {
			var t T
			p := index(path, i)
			b.at[p] = item.pos
			bind(&t, item, p)
			*to = append(*to, t)
		}
	}
}
