package server

import (
	"context"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/proto/job"
)

// Description of the errors that any operation may have.
const (
	problemRef  = "#/components/schemas/Problem"
	problemType = "application/problem+json"
)

// execTypes travel in an exec only, and so in no body.
var execTypes = []reflect.Type{reflect.TypeFor[api.ExecStart](), reflect.TypeFor[api.ExecEnd]()}

// describe is the frame of the description.
func describe(version string) *huma.OpenAPI {
	reg := huma.NewMapRegistry("#/components/schemas/", schemaName)
	reg.RegisterTypeAlias(reflect.TypeFor[job.Duration](), reflect.TypeFor[durationSchema]())
	reg.RegisterTypeAlias(reflect.TypeFor[job.State](), reflect.TypeFor[stateSchema]())
	reg.Schema(reflect.TypeFor[api.Problem](), true, "")
	return &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "edgeIO", Version: version,
			Description: "Runs jobs on computers at the edge. All that edgectl does goes through this API. Errors are problem details (RFC 9457) with stable types.",
			License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
		},
		Servers: []*huma.Server{{URL: api.Prefix}},
		Tags: []*huma.Tag{
			{Name: "jobs", Description: "Deploy jobs, look after them, end them"},
			{Name: "events", Description: "What happens, as it happens"},
			{Name: "fleet", Description: "Clusters and worker nodes"},
			{Name: "tokens", Description: "Tokens for users, and for what joins"},
			{Name: "meta", Description: "About the server itself"},
		},
		Security: []map[string][]string{{"token": {}}},
		Components: &huma.Components{
			Schemas:         reg,
			SecuritySchemes: map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer", Description: "An API token"}},
		},
	}
}

// schemaName names the schema of a type. The job file's types share some names
// with the API's views.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := huma.DefaultSchemaNamer(t, hint)
	if strings.HasSuffix(t.PkgPath(), "/proto/job") {
		return "JobFile" + strings.TrimPrefix(name, "Job")
	}
	return name
}

// durationSchema is job.Duration.
type durationSchema struct{}

// Schema describes both forms.
func (durationSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Description: "Like 10s or 1m30s, or a number of seconds",
		OneOf:       []*huma.Schema{{Type: huma.TypeString}, {Type: huma.TypeNumber}},
	}
}

// stateSchema is job.State.
type stateSchema struct{}

// Schema lists the states.
func (stateSchema) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	for _, st := range job.States {
		s.Enum = append(s.Enum, string(st))
	}
	return s
}

// op completes what all operations have in common.
func op(o huma.Operation) huma.Operation {
	o.MaxBodyBytes = maxBody + 1 // huma refuses a body that is as long as the bound
	o.BodyReadTimeout = bodyTimeout
	o.Responses = map[string]*huma.Response{"default": {
		Description: "What went wrong",
		Content:     map[string]*huma.MediaType{problemType: {Schema: &huma.Schema{Ref: problemRef}}},
	}}
	return o
}

// jobFileOp is an operation whose body is a job file.
func jobFileOp(o huma.Operation) huma.Operation {
	o = op(o)
	o.SkipValidateBody = true // package job does it, and better
	file := &huma.Schema{Ref: "#/components/schemas/JobFile"}
	o.RequestBody = &huma.RequestBody{Required: true, Description: "A job file, api_version " + job.APIVersion + "; /schema/job.json has its exact schema", Content: map[string]*huma.MediaType{
		"application/yaml": {Schema: file},
		"application/json": {Schema: file},
	}}
	return o
}

// streamOp is an operation whose answer comes bit by bit, in one of these types.
func streamOp(o huma.Operation, types ...string) huma.Operation {
	o = op(o)
	ok := &huma.Response{Description: "The stream", Content: map[string]*huma.MediaType{}}
	for _, t := range types {
		m := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
		if t == "application/x-ndjson" {
			m.Schema = &huma.Schema{Ref: "#/components/schemas/LogLine"}
		}
		ok.Content[t] = m
	}
	o.Responses["200"] = ok
	return o
}

func (s *service) registerMeta(h huma.API) {
	h.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.LogLine](), true, "")
	h.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.Event](), true, "")
	huma.Register(h, op(huma.Operation{
		OperationID: "get-version", Method: http.MethodGet, Path: "/version", Tags: []string{"meta"}, Summary: "Who answers",
	}), func(context.Context, *struct{}) (*output[api.Version], error) {
		return &output[api.Version]{api.Version{Version: s.Version, Tier: s.Tier, Name: s.Name}}, nil
	})
	registerDocument(h, "get-openapi", "/openapi.json", "This description", func() ([]byte, error) { return h.OpenAPI().MarshalJSON() })
	registerDocument(h, "get-job-schema", "/schema/job.json", "JSON schema of the job file", func() ([]byte, error) { return job.Schema(), nil })
	h.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "health", Method: http.MethodGet, Path: "/healthz", Tags: []string{"meta"}, Summary: "Whether the server answers",
		Description: "Needs no token.", Security: []map[string][]string{},
		Responses: map[string]*huma.Response{"200": {Description: "It does", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}}},
	})
}

// registerDocument serves a JSON document that does not change.
func registerDocument(h huma.API, id, path, summary string, make func() ([]byte, error)) {
	o := op(huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Tags: []string{"meta"}, Summary: summary})
	o.Responses["200"] = &huma.Response{Description: "The document", Content: map[string]*huma.MediaType{
		"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}},
	}}
	huma.Register(h, o, func(context.Context, *struct{}) (*huma.StreamResponse, error) {
		b, err := make()
		if err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			ctx.SetHeader("Content-Type", "application/json")
			_, _ = ctx.BodyWriter().Write(b) // whoever asked may be gone
		}}, nil
	})
}

// requestSchemas are the bodies that are read strictly; answers may get more fields.
var requestSchemas = []string{"NewAPIToken", "NewJoinToken", "ExecStart", "JobFile"}

// finish makes the description say what clients may rely on: fields can be
// added to answers. It is called once all operations are declared.
func finish(o *huma.OpenAPI) {
	for _, unused := range []string{"ErrorModel", "ErrorDetail"} { // huma's own, which asProblem replaces
		delete(o.Components.Schemas.Map(), unused)
	}
	for _, path := range o.Paths {
		// huma takes a raw body for bytes that have no schema.
		if p := path.Post; p != nil && p.RequestBody != nil && p.RequestBody.Content["application/yaml"] != nil {
			p.RequestBody.Content["application/yaml"].Schema = p.RequestBody.Content["application/json"].Schema
		}
	}
	for name, schema := range o.Components.Schemas.Map() {
		strict := false
		for _, r := range requestSchemas {
			strict = strict || strings.HasPrefix(name, r)
		}
		if !strict {
			schema.AdditionalProperties = nil
		}
	}
}
