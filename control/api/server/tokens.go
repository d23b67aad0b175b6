package server

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/edgeio/edgeio/control/api"
)

const defaultJoinTTL = 3600 // seconds

type tokenRef struct {
	ID string `path:"id" maxLength:"128" doc:"Id of the token; not its secret"`
}

type newAPITokenInput struct{ Body api.NewAPIToken }

type newJoinTokenInput struct{ Body api.NewJoinToken }

func (s *service) registerTokens(h huma.API) {
	tags := []string{"tokens"}
	huma.Register(h, op(huma.Operation{
		OperationID: "create-token", Method: http.MethodPost, Path: "/tokens", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Make an API token", Description: "The answer has the secret, which is not kept and cannot be shown again.",
	}), s.createAPIToken)
	huma.Register(h, op(huma.Operation{
		OperationID: "list-tokens", Method: http.MethodGet, Path: "/tokens", Tags: tags, Summary: "List API tokens",
	}), func(ctx context.Context, _ *struct{}) (*output[api.APITokenList], error) {
		l, err := s.Tokens.APITokens(ctx)
		return reply(ctx, s, api.APITokenList{Tokens: list(l)}, err)
	})
	huma.Register(h, op(huma.Operation{
		OperationID: "revoke-token", Method: http.MethodDelete, Path: "/tokens/{id}", Tags: tags, Summary: "Revoke an API token",
		Description: "At once. Doing it again is no error.",
	}), func(ctx context.Context, in *tokenRef) (*struct{}, error) {
		return s.done(ctx, s.Tokens.RevokeAPIToken(ctx, in.ID))
	})
	huma.Register(h, op(huma.Operation{
		OperationID: "create-join-token", Method: http.MethodPost, Path: "/join-tokens", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Make a token with which a cluster or a node joins", Description: "The answer has the secret, which cannot be shown again.",
	}), s.createJoinToken)
	huma.Register(h, op(huma.Operation{
		OperationID: "list-join-tokens", Method: http.MethodGet, Path: "/join-tokens", Tags: tags, Summary: "List join tokens",
	}), func(ctx context.Context, _ *struct{}) (*output[api.JoinTokenList], error) {
		l, err := s.Tokens.JoinTokens(ctx)
		return reply(ctx, s, api.JoinTokenList{Tokens: list(l)}, err)
	})
	huma.Register(h, op(huma.Operation{
		OperationID: "revoke-join-token", Method: http.MethodDelete, Path: "/join-tokens/{id}", Tags: tags, Summary: "Revoke a join token",
		Description: "What has joined with it stays. Doing it again is no error.",
	}), func(ctx context.Context, in *tokenRef) (*struct{}, error) {
		return s.done(ctx, s.Tokens.RevokeJoinToken(ctx, in.ID))
	})
}

// done is the answer without a body.
func (s *service) done(ctx context.Context, err error) (*struct{}, error) {
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return nil, nil
}

func (s *service) createAPIToken(ctx context.Context, in *newAPITokenInput) (*output[api.CreatedAPIToken], error) {
	if in.Body.Role == "" {
		in.Body.Role = api.RoleAdmin
	}
	if strings.TrimSpace(in.Body.Name) == "" {
		return nil, s.fail(ctx, classError{api.ErrInvalid, "a token needs a name, of who or what will use it"})
	}
	t, err := s.Tokens.CreateAPIToken(ctx, in.Body)
	return reply(ctx, s, t, err)
}

func (s *service) createJoinToken(ctx context.Context, in *newJoinTokenInput) (*output[api.CreatedJoinToken], error) {
	if in.Body.Kind == api.JoinCluster && in.Body.Cluster != "" {
		return nil, s.fail(ctx, classError{api.ErrInvalid, "only a node joins a cluster: leave the cluster out, or make a token of kind node"})
	}
	if in.Body.TTLSeconds == 0 {
		in.Body.TTLSeconds = defaultJoinTTL
	}
	if in.Body.Uses == nil {
		in.Body.Uses = new(1)
	}
	t, err := s.Tokens.CreateJoinToken(ctx, in.Body)
	return reply(ctx, s, t, err)
}
