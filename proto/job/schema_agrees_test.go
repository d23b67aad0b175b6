package job

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestSchemaAgrees holds Parse and the schema together: what Parse takes, an
// editor must not mark as wrong.
func TestSchemaAgrees(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("job.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("job.json")
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	check := func(data []byte) {
		src, problem := readable(data)
		if problem != nil {
			t.Fatal(problem)
		}
		read := readYAML
		if isJSON(src) {
			read = readJSON
		}
		root, problem := read(src)
		if problem != nil {
			t.Fatalf("%v in:\n%s", problem, data)
		}
		_, parseErr := Parse(data)
		schemaErr := schema.Validate(root.plain())
		if (parseErr == nil) != (schemaErr == nil) {
			t.Errorf("Parse: %v\nschema: %v\nin:\n%s", parseErr, schemaErr, data)
		}
		if parseErr == nil {
			accepted++
		}
	}
	for _, data := range examples(t) {
		check(data)
	}
	for _, line := range []string{
		"restart: always", "restart: {policy: never}", "restart: sometimes", "restart: {backoff: 1m30s}", "restart: {backoff: soon}",
		"ports: [8080, '1:2', 3/udp, {port: 4}]", "ports: [0]", "ports: ['x']", "ports: [{host_port: 1}]", "ports: [{port: 70000}]",
		"command: a b", "command: [a, 1, true]", "command: {a: b}", "args: [[a]]",
		"stop: {grace: 10}", "stop: {grace: 1.5s, signal: term}", "stop: {signal: STOP}", "stop: 10s",
		"env: {A: 1, B: true, C: x}", "env: {A: [b]}", "env: [A]", "env: {'A=B': c}",
		"replicas: 1", "replicas: 2", "replicas: 0", "kind: batch", "kind: cron", "arch: arm", "arch: x86_64", "user: 1000",
		"requirements: {cpu: 0.5}", "requirements: {cpu: 0}", "requirements: {cpu: -1}", "requirements: {memory: 1.5}", "requirements: {gpu: 1}",
		"requirements: {gpu: 0}", "requirements: {gpu: -1}", "requirements: {gpu: 65}", "requirements: {gpu: {}}", "requirements: {gpu: {count: 0}}",
		"requirements: {gpu: {count: 2, vendor: nvidia, model: 3060, memory: 8000}}", "requirements: {npu: {vendor: [a]}}", "requirements: {vpu: x}",
		"requirements: {devices: [camera, /dev/ttyUSB0, {kind: gpio, count: 2}, {id: x}, {path: /dev/a/b}]}", "requirements: {devices: [/etc/passwd]}",
		"requirements: {devices: [toaster]}", "requirements: {devices: [/dev/../etc]}", "requirements: {devices: [{}]}", "requirements: {devices: camera}",
		"requirements: {devices: [{kind: usb, path: /dev/a}]}", "requirements: {devices: [{path: /dev/a, count: 2}]}", "requirements: {devices: [{path: /dev/}]}",
		"requirements: {runtime_version: 20.10}", "requirements: {runtime_version: 24.0.7}", "requirements: {runtime_version: v24}",
		"requirements: {features: [exec, limit-memory]}", "requirements: {features: exec}", "requirements: {features: [E]}",
		"constraints: [a, '!a', a=b, a!=b, edgeio.dev/board=raspberry-pi-4, a=]", "constraints: [a b]", "constraints: [=b]", "constraints: a=b", "constraints: [1]",
		"constraints: [{label: a, operator: in, values: [b, 1, true]}, {label: a}, {label: a, values: [x]}]", "constraints: [{label: a, operator: in}]",
		"constraints: [{label: a, operator: exists, values: [b]}]", "constraints: [{operator: exists}]", "constraints: [{label: a, operator: like, values: [b]}]",
		"affinities: [a=b, {label: a, weight: -100}, {label: a, values: [x], weight: 100}]", "affinities: [{label: a, weight: 0}]", "affinities: [{label: a, weight: 101}]",
		"tolerations: [a, a=b, 'a:no_schedule', 'a=b:c:prefer_no_schedule', {key: a, value: 1, effect: no_schedule}]", "tolerations: ['a:b']", "tolerations: [{value: a}]",
		"tolerations: [{key: a, effect: NoExecute}]",
		"sha256: abc", "unknown: 1", "worker_node: 5",
	} {
		check([]byte(minimal + line + "\n"))
	}
	if accepted < 15 {
		t.Errorf("only %d files were accepted: the comparison means nothing", accepted)
	}
}

// plain is n as encoding/json would have read it.
func (n *node) plain() any {
	switch n.kind {
	case boolean:
		return n.text == "true"
	case number:
		if !json.Valid([]byte(n.text)) {
			return n.text // a number of YAML alone
		}
		return json.Number(n.text)
	case text:
		return n.text
	case list:
		out := make([]any, len(n.items))
		for i, v := range n.items {
			out[i] = v.plain()
		}
		return out
	case mapping:
		out := map[string]any{}
		for _, e := range n.entries {
			out[e.key] = e.value.plain()
		}
		return out
	default:
		return nil
	}
}
