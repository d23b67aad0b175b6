package server

import (
	"bytes"
	"context"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/proto/job"
)

// JobRef names a job in a path. It is exported for reflection.
type JobRef struct {
	ID string `path:"id" maxLength:"128" doc:"Id of the job, its name if only one has it, or the unique beginning of its id"`
}

// FileInput is a request whose body is a job file. It is exported for
// reflection.
type FileInput struct {
	ContentType string `header:"Content-Type" doc:"YAML or JSON; when it says neither, either is understood"`
	RawBody     []byte `contentType:"application/yaml"`
}

type deployInput struct {
	FileInput
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"128" doc:"Repeating a request with the same key deploys nothing again"`
}

type listInput struct {
	State []string `query:"state" doc:"Only jobs in one of these states, separated by commas"`
	Name  string   `query:"name" doc:"Only jobs of this name"`
}

type output[T any] struct{ Body T }

type createdOutput struct {
	Location string `header:"Location"`
	Body     api.Job
}

func (s *service) registerJobs(h huma.API) {
	huma.Register(h, jobFileOp(huma.Operation{
		OperationID: "deploy-job", Method: http.MethodPost, Path: "/jobs", Tags: []string{"jobs"},
		Summary: "Deploy a job", DefaultStatus: http.StatusCreated,
		Description: "Stores the job and answers at once; its events tell how it goes on. All faults of a job file are told together, each with line and column.",
	}), s.deploy)
	huma.Register(h, jobFileOp(huma.Operation{
		OperationID: "validate-job", Method: http.MethodPost, Path: "/jobs/validate", Tags: []string{"jobs"},
		Summary: "Check a job file", Description: "Deploys nothing.",
	}), s.validate)
	huma.Register(h, jobFileOp(huma.Operation{
		OperationID: "explain-job-file", Method: http.MethodPost, Path: "/jobs/explain", Tags: []string{"jobs"},
		Summary: "Ask who would take a job", Description: "Deploys nothing.",
	}), s.explainFile)
	huma.Register(h, op(huma.Operation{
		OperationID: "list-jobs", Method: http.MethodGet, Path: "/jobs", Tags: []string{"jobs"},
		Summary: "List jobs", Description: "The newest first.",
	}), s.listJobs)
	huma.Register(h, op(huma.Operation{
		OperationID: "get-job", Method: http.MethodGet, Path: "/jobs/{id}", Tags: []string{"jobs"}, Summary: "Show a job",
	}), s.getJob)
	huma.Register(h, op(huma.Operation{
		OperationID: "terminate-job", Method: http.MethodDelete, Path: "/jobs/{id}", Tags: []string{"jobs"}, Summary: "End a job",
		DefaultStatus: http.StatusAccepted,
		Description:   "Answers at once; the job is TERMINATED a little later. Doing it again is no error. Its record stays.",
	}), s.terminate)
	huma.Register(h, op(huma.Operation{
		OperationID: "explain-job", Method: http.MethodGet, Path: "/jobs/{id}/explain", Tags: []string{"jobs"},
		Summary: "Ask who would take a deployed job now",
	}), s.explain)
}

func (s *service) deploy(ctx context.Context, in *deployInput) (*createdOutput, error) {
	spec, err := in.job()
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	j, err := s.Jobs.Deploy(ctx, Deployment{Job: spec, IdempotencyKey: in.IdempotencyKey, Owner: identity(ctx).Name})
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &createdOutput{Location: api.Prefix + "/jobs/" + url.PathEscape(j.ID), Body: present(j)}, nil
}

func (s *service) validate(ctx context.Context, in *FileInput) (*output[api.ValidJob], error) {
	spec, err := in.job()
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &output[api.ValidJob]{api.ValidJob{Job: spec}}, nil
}

func (s *service) explainFile(ctx context.Context, in *FileInput) (*output[api.Explanation], error) {
	spec, err := in.job()
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	e, err := s.Jobs.Explain(ctx, spec)
	return reply(ctx, s, presentExplanation(e), err)
}

func (s *service) explain(ctx context.Context, in *JobRef) (*output[api.Explanation], error) {
	j, err := s.Jobs.Job(ctx, in.ID)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	e, err := s.Jobs.Explain(ctx, j.Spec)
	e.Job, e.State = j.ID, j.State
	return reply(ctx, s, presentExplanation(e), err)
}

func (s *service) listJobs(ctx context.Context, in *listInput) (*output[api.JobList], error) {
	f := JobFilter{Name: in.Name}
	for _, name := range in.State {
		st := job.State(name)
		if !st.Valid() {
			return nil, s.fail(ctx, classError{api.ErrInvalid, fmt.Sprintf("state %q is unknown; want some of %v", name, job.States)})
		}
		f.States = append(f.States, st)
	}
	jobs, err := s.Jobs.List(ctx, f)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	list := api.JobList{Jobs: make([]api.Job, len(jobs))}
	for i, j := range jobs {
		list.Jobs[i] = present(j)
	}
	return &output[api.JobList]{list}, nil
}

func (s *service) getJob(ctx context.Context, in *JobRef) (*output[api.Job], error) {
	j, err := s.Jobs.Job(ctx, in.ID)
	return reply(ctx, s, present(j), err)
}

func (s *service) terminate(ctx context.Context, in *JobRef) (*output[api.Job], error) {
	j, err := s.Jobs.Terminate(ctx, in.ID)
	return reply(ctx, s, present(j), err)
}

// reply is the answer of a handler whose backend gave v, or err.
func reply[T any](ctx context.Context, s *service, v T, err error) (*output[T], error) {
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &output[T]{v}, nil
}

// fileTypes are the content types that a job file may come with: the two it
// is, and those that clients send when they have not been told.
var fileTypes = []string{
	"", "application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "application/json",
	"text/plain", "application/octet-stream", "application/x-www-form-urlencoded",
}

// job reads and checks the job file in the body. YAML and JSON need not be told
// apart, for every JSON text is YAML.
func (in *FileInput) job() (job.Job, error) {
	media, _, err := mime.ParseMediaType(in.ContentType)
	if in.ContentType != "" && (err != nil || !slices.Contains(fileTypes, media)) {
		p := api.NewProblem(api.ErrInvalid)
		p.Status = http.StatusUnsupportedMediaType
		p.Detail = fmt.Sprintf("a job file is application/yaml or application/json, not %q", in.ContentType)
		return job.Job{}, p
	}
	// The body's memory is used again after the request.
	j, err := job.Parse(bytes.Clone(in.RawBody))
	if err != nil {
		return job.Job{}, err
	}
	j.Normalize()
	return *j, nil
}

// present makes lists empty rather than null.
func present(j api.Job) api.Job {
	j.Instances = slices.Clone(j.Instances)
	if j.Instances == nil {
		j.Instances = []api.Instance{}
	}
	for i := range j.Instances {
		if j.Instances[i].History == nil {
			j.Instances[i].History = []api.Change{}
		}
	}
	return j
}

func presentExplanation(e api.Explanation) api.Explanation {
	if e.Accepting == nil {
		e.Accepting = []string{}
	}
	if e.Rejections == nil {
		e.Rejections = []api.Rejection{}
	}
	return e
}
