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
