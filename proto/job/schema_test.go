package job

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write schema.json anew")

func TestSchemaIsCurrent(t *testing.T) {
	want, err := json.MarshalIndent(newSchema(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(want, Schema()) {
		t.Fatal("schema.json is not what job.go and limits.go say: run go generate ./proto/job and commit the result")
	}
}

type object = map[string]any

// newSchema makes the schema from the types, their comments, and the table of
// what reflection cannot know.
func newSchema(t *testing.T) object {
	g := generator{t: t, docs: fieldDocs(t)}
	s := g.structure(reflect.TypeFor[Job](), "")
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["$id"] = "urn:edgeio:job:v0.1"
	s["title"] = "edgeIO job file " + APIVersion
	s["required"] = []string{"api_version", "job_name", "image", "image_runtime"}
	for path := range rules {
		if !g.used[path] {
			t.Errorf("the rule for %s is for no field", path)
		}
	}
	return s
}

var (
	textual  = []string{"string", "number", "boolean"}
	duration = []any{
		object{"type": "number", "minimum": 0, "description": "seconds"},
		object{"type": "string", "pattern": `^([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*$`},
	}
	wordList = []any{
		object{"type": "array", "maxItems": maxWords, "items": object{"type": textual, "maxLength": maxWord}},
		object{"type": textual, "description": "split into words as a shell does it"},
	}
)

// bare is the pattern of a part of a short form.
func bare(pattern string) string { return strings.TrimSuffix(strings.TrimPrefix(pattern, "^"), "$") }

func accelerator() object {
	return object{"short": []any{object{"type": "integer", "minimum": 0, "maximum": maxDeviceCount}}}
}

// condition is what the operators want of the values, and the short forms.
func condition() object {
	when := func(values object, operators ...Operator) object {
		return object{
			"if":   object{"properties": object{"operator": object{"enum": operators}}, "required": []string{"operator"}},
			"then": values,
		}
	}
	return object{
		"required": []string{"label"},
		"allOf": []any{
			when(object{"required": []string{"values"}, "properties": object{"values": object{"minItems": 1}}}, In, NotIn),
			when(object{"properties": object{"values": object{"maxItems": 0}}}, Exists, NotExists),
		},
		"short": []any{object{"type": "string", "pattern": "^(!?" + bare(labelKeyPattern) + "|" + bare(labelKeyPattern) + "!?=" + bare(labelPattern) + ")$"}},
	}
}

// rules adds to, or replaces, what the type of a field says; a nil deletes.
var rules = map[string]object{
	"api_version":      {"const": APIVersion},
	"job_name":         {"pattern": namePattern},
	"image":            {"minLength": 1, "maxLength": maxImage},
	"image_runtime":    {"enum": append([]string{"unikernel"}, Runtimes...)},
	"sha256":           {"type": []string{"string", "number"}, "pattern": sha256Pattern},
	"kind":             {"enum": kinds, "default": Service},
	"cluster_location": {"maxLength": maxWish},
	"worker_node":      {"maxLength": maxWish},
	"command":          {"type": nil, "items": nil, "anyOf": wordList},
	"args":             {"type": nil, "items": nil, "anyOf": wordList},
	"env": {
		"maxProperties":        maxEnv,
		"propertyNames":        object{"pattern": envNamePattern},
		"additionalProperties": object{"type": textual, "maxLength": maxWord},
	},
	"workdir":                  {"maxLength": maxPath},
	"user":                     {"type": []string{"string", "number"}, "pattern": userPattern},
	"arch":                     {"enum": arches},
	"requirements.cpu":         {"anyOf": []any{object{"const": 0}, object{"minimum": minCPU, "maximum": maxCPU}}},
	"requirements.memory":      {"minimum": 0, "maximum": maxMegabytes},
	"requirements.disk":        {"minimum": 0, "maximum": maxMegabytes},
	"requirements.gpu":         accelerator(),
	"requirements.vpu":         accelerator(),
	"requirements.npu":         accelerator(),
	"requirements.fpga":        accelerator(),
	"requirements.gpu.count":   {"minimum": 1, "maximum": maxDeviceCount, "default": 1},
	"requirements.gpu.vendor":  {"maxLength": maxDeviceText},
	"requirements.gpu.model":   {"type": textual, "maxLength": maxDeviceText},
	"requirements.gpu.memory":  {"minimum": 0, "maximum": maxMegabytes},
	"requirements.vpu.count":   {"minimum": 1, "maximum": maxDeviceCount, "default": 1},
	"requirements.vpu.vendor":  {"maxLength": maxDeviceText},
	"requirements.vpu.model":   {"type": textual, "maxLength": maxDeviceText},
	"requirements.vpu.memory":  {"minimum": 0, "maximum": maxMegabytes},
	"requirements.npu.count":   {"minimum": 1, "maximum": maxDeviceCount, "default": 1},
	"requirements.npu.vendor":  {"maxLength": maxDeviceText},
	"requirements.npu.model":   {"type": textual, "maxLength": maxDeviceText},
	"requirements.npu.memory":  {"minimum": 0, "maximum": maxMegabytes},
	"requirements.fpga.count":  {"minimum": 1, "maximum": maxDeviceCount, "default": 1},
	"requirements.fpga.vendor": {"maxLength": maxDeviceText},
	"requirements.fpga.model":  {"type": textual, "maxLength": maxDeviceText},
	"requirements.fpga.memory": {"minimum": 0, "maximum": maxMegabytes},
	"requirements.devices":     {"maxItems": maxDevices},
	"requirements.devices[]": {"short": []any{
		object{"enum": deviceKinds},
		object{"type": "string", "pattern": devPathPattern, "maxLength": maxDeviceText},
	}, "oneOf": []any{
		object{"required": []string{"kind"}},
		object{"required": []string{"id"}, "properties": object{"count": object{"maximum": 1}}},
		object{"required": []string{"path"}, "properties": object{"count": object{"maximum": 1}}},
	}},
	"requirements.devices[].kind":  {"enum": deviceKinds},
	"requirements.devices[].id":    {"minLength": 1, "maxLength": maxDeviceText},
	"requirements.devices[].path":  {"pattern": devPathPattern, "maxLength": maxDeviceText},
	"requirements.devices[].count": {"minimum": 1, "maximum": maxDeviceCount, "default": 1},
	"requirements.runtime_version": {"type": []string{"string", "number"}, "pattern": versionPattern},
	"requirements.features":        {"maxItems": maxFeatures},
	"requirements.features[]":      {"pattern": featurePattern},
	"constraints":                  {"maxItems": maxRules},
	"constraints[]":                condition(),
	"constraints[].label":          {"pattern": labelKeyPattern},
	"constraints[].operator":       {"enum": operators},
	"constraints[].values":         {"maxItems": maxValues},
	"constraints[].values[]":       {"type": textual, "pattern": labelPattern},
	"affinities":                   {"maxItems": maxRules},
	"affinities[]":                 condition(),
	"affinities[].label":           {"pattern": labelKeyPattern},
	"affinities[].operator":        {"enum": operators},
	"affinities[].values":          {"maxItems": maxValues},
	"affinities[].values[]":        {"type": textual, "pattern": labelPattern},
	"affinities[].weight":          {"minimum": -maxWeight, "maximum": maxWeight, "not": object{"const": 0}, "default": 1},
	"tolerations":                  {"maxItems": maxRules},
	"tolerations[]": {"required": []string{"key"}, "short": []any{
		object{"type": "string", "pattern": "^" + bare(labelKeyPattern) + "(=" + bare(labelPattern) + ")?(:(" + strings.Join(effects, "|") + "))?$"},
	}},
	"tolerations[].key":    {"pattern": labelKeyPattern},
	"tolerations[].value":  {"type": textual, "pattern": labelPattern},
	"tolerations[].effect": {"enum": effects},
	"ports":                {"maxItems": maxPorts},
	"ports[]": {"short": []any{
		object{"type": "integer", "minimum": 1, "maximum": 65535},
		object{"type": "string", "pattern": `^([1-9][0-9]{0,4}:)?[1-9][0-9]{0,4}(/(tcp|udp))?$`},
	}, "required": []string{"port"}},
	"ports[].name":      {"pattern": portNamePattern},
	"ports[].port":      {"minimum": 1, "maximum": 65535},
	"ports[].host_port": {"minimum": 1, "maximum": 65535},
	"ports[].protocol":  {"enum": protocols, "default": "tcp"},
	"replicas":          {"minimum": 1, "maximum": maxReplicas, "default": 1},
	"restart":           {"short": []any{object{"enum": policies}}},
	"restart.policy":    {"enum": policies},
	"restart.attempts":  {"minimum": 0, "maximum": maxAttempts},
	"restart.backoff":   {"type": nil, "anyOf": duration, "default": "1s"},
	"stop.grace":        {"type": nil, "anyOf": duration, "default": "10s"},
	"stop.signal":       {"pattern": "^(?:[Ss][Ii][Gg])?(?:" + anyCase(signals) + ")$", "default": "SIGTERM"},
}

// anyCase is a pattern for signal names in small and capital letters.
func anyCase(names []string) string {
	var b strings.Builder
	for i, n := range names {
		if i > 0 {
			b.WriteByte('|')
		}
		for _, c := range strings.TrimPrefix(n, "SIG") {
			if lower := strings.ToLower(string(c)); lower != string(c) {
				b.WriteString("[" + string(c) + lower + "]")
			} else {
				b.WriteRune(c)
			}
		}
	}
	return b.String()
}

type generator struct {
	t    *testing.T
	docs map[string]string // by "Type.Field"
	used map[string]bool
}

func (g *generator) structure(typ reflect.Type, path string) object {
	properties := object{}
	for f := range typ.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		p := strings.TrimPrefix(path+"."+name, ".")
		s := g.value(f.Type, p)
		doc := g.docs[typ.Name()+"."+f.Name]
		if doc == "" {
			g.t.Errorf("%s.%s has no comment; it is the description in the schema", typ.Name(), f.Name)
		}
		s["description"] = doc
		properties[name] = s
	}
	return object{"type": "object", "additionalProperties": false, "properties": properties}
}

func (g *generator) value(typ reflect.Type, path string) object {
	var s object
	switch typ.Kind() {
	case reflect.Pointer:
		return g.value(typ.Elem(), path)
	case reflect.Struct:
		s = g.structure(typ, path)
	case reflect.Slice:
		s = object{"type": "array", "items": g.value(typ.Elem(), path+"[]")}
	case reflect.Map:
		s = object{"type": "object"}
	case reflect.String:
		s = object{"type": "string"}
	case reflect.Float64:
		s = object{"type": "number"}
	case reflect.Int, reflect.Int64, reflect.Uint16:
		s = object{"type": "integer"}
	default:
		g.t.Fatalf("%s: no schema for a %v", path, typ)
	}
	return g.rule(s, path)
}

func (g *generator) rule(s object, path string) object {
	if g.used == nil {
		g.used = map[string]bool{}
	}
	g.used[path] = true
	for k, v := range rules[path] {
		if s[k] = v; v == nil {
			delete(s, k)
		}
	}
	if short, ok := s["short"].([]any); ok {
		delete(s, "short")
		return object{"anyOf": append([]any{s}, short...)}
	}
	return s
}

// fieldDocs reads the comments of all struct fields of the package.
func fieldDocs(t *testing.T) map[string]string {
	docs := map[string]string{}
	for _, name := range []string{"job.go", "placement.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		addDocs(docs, file)
	}
	return docs
}

func addDocs(docs map[string]string, file *ast.File) {
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range s.Fields.List {
				for _, name := range f.Names {
					docs[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
		}
		return false
	})
}
