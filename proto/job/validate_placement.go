package job

// checkPlace checks what chooses among nodes.
func (j *Job) checkPlace(c *checker) {
	c.check(len(j.Constraints) <= maxRules, "constraints", "has %d entries; want at most %d", len(j.Constraints), maxRules)
	for i, k := range j.Constraints {
		c.condition(index("constraints", i), k)
	}
	c.check(len(j.Affinities) <= maxRules, "affinities", "has %d entries; want at most %d", len(j.Affinities), maxRules)
	for i, a := range j.Affinities {
		f := index("affinities", i)
		c.condition(f, a.Constraint())
		c.check(a.Weight >= -maxWeight && a.Weight <= maxWeight, f+".weight", "want a whole number from -%d to %d; this is %d", maxWeight, maxWeight, a.Weight)
	}
	c.check(len(j.Tolerations) <= maxRules, "tolerations", "has %d entries; want at most %d", len(j.Tolerations), maxRules)
	for i, t := range j.Tolerations {
		f := index("tolerations", i)
		c.label(f+".key", t.Key)
		c.labelValue(f+".value", t.Value)
		c.oneOf(f+".effect", string(t.Effect), effects)
	}
}

func (c *checker) condition(f string, k Constraint) {
	c.label(f+".label", k.Label)
	c.oneOf(f+".operator", string(k.Operator), operators)
	c.check(len(k.Values) <= maxValues, f+".values", "has %d entries; want at most %d", len(k.Values), maxValues)
	for i, v := range k.Values {
		c.labelValue(index(f+".values", i), v)
	}
	switch k.Operator {
	case In, NotIn:
		c.check(len(k.Values) > 0, f+".values", "want the values that %s means", k.Operator)
	case Exists, NotExists:
		c.check(len(k.Values) == 0, f+".values", "has no meaning with the operator %s; delete it", k.Operator)
	}
}

func (c *checker) label(f, key string) {
	c.check(labelKeyRE.MatchString(key), f, `want 1 to 127 letters, digits, ".", "_", "-" and "/", the first a letter or digit; this is %s`, quote(key))
}

func (c *checker) labelValue(f, value string) {
	c.check(labelRE.MatchString(value), f, `want at most 127 letters, digits and "._:/+@-"; this is %s`, quote(value))
}

// checkDevices checks what is asked of the node's hardware and runtimes.
func (j *Job) checkDevices(c *checker) {
	r := j.Requirements
	for _, a := range []struct {
		name string
		Accelerator
	}{{"gpu", r.GPU}, {"vpu", r.VPU}, {"npu", r.NPU}, {"fpga", r.FPGA}} {
		f := "requirements." + a.name
		c.deviceCount(f+".count", a.Count)
		c.printable(f+".vendor", a.Vendor, maxDeviceText)
		c.printable(f+".model", a.Model, maxDeviceText)
		c.check(a.Memory >= 0 && a.Memory <= maxMegabytes, f+".memory", "want a number of MB from 0 to %d; this is %d", maxMegabytes, a.Memory)
	}
	c.check(len(r.Devices) <= maxDevices, "requirements.devices", "has %d entries; want at most %d", len(r.Devices), maxDevices)
	for i, d := range r.Devices {
		c.device(index("requirements.devices", i), d)
	}
	c.check(r.RuntimeVersion == "" || versionRE.MatchString(r.RuntimeVersion), "requirements.runtime_version",
		"want numbers with dots between them, such as 20.10; this is %s", quote(r.RuntimeVersion))
	c.check(len(r.Features) <= maxFeatures, "requirements.features", "has %d entries; want at most %d", len(r.Features), maxFeatures)
	for i, name := range r.Features {
		c.check(featureRE.MatchString(name), index("requirements.features", i), `want small letters, digits and "-", such as exec; this is %s`, quote(name))
	}
}

func (c *checker) device(f string, d DeviceRequest) {
	said := 0
	for _, s := range []string{d.Kind, d.ID, d.Path} {
		if s != "" {
			said++
		}
	}
	c.check(said == 1, f, "want one of kind, id and path; this has %d of them", said)
	c.oneOf(f+".kind", d.Kind, deviceKinds)
	c.printable(f+".id", d.ID, maxDeviceText)
	c.printable(f+".path", d.Path, maxDeviceText)
	c.check(d.Path == "" || devPathRE.MatchString(d.Path), f+".path", "want a path below /dev/; this is %s", quote(d.Path))
	c.deviceCount(f+".count", d.Count)
	c.check(d.Kind != "" || d.Count <= 1, f+".count", "an id or a path names one device; this is %d", d.Count)
}

func (c *checker) deviceCount(f string, n int) {
	c.check(n >= 0 && n <= maxDeviceCount, f, "want a number of devices from 0 to %d; this is %d", maxDeviceCount, n)
}
