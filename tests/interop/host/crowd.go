package main

import (
	"fmt"
	"sync"

	"github.com/argoproj/argo-rollouts/pkg/apis/rollouts/v1alpha1"
	"k8s.io/apimachinery/pkg/types"
)

// member is what differs between the AnalysisRuns of a crowd.
type member struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       types.UID `json:"uid"`
	Owner     types.UID `json:"owner"` // of the Rollout, which bears the AnalysisRun's name
	Hash      string    `json:"hash"`
}

// crowd makes one call for each member, as many at a time as there are callers, each with an AnalysisRun of its own.
func crowd(r request) (any, error) {
	known, _ := runners.Load(r.Address)
	to, ok := known.(*runner)
	if !ok {
		return nil, fmt.Errorf("host: nothing was joined at %q", r.Address)
	}
	members, faults := make(chan member), make(chan error, len(r.Members))
	var all sync.WaitGroup
	for range max(r.Callers, 1) {
		all.Add(1)
		go func() {
			defer all.Done()
			for each := range members {
				one := r
				one.Run = each.run(r.Run)
				if err := to.once(one); err != nil {
					faults <- err
				}
			}
		}()
	}
	for _, each := range r.Members {
		members <- each
	}
	close(members)
	all.Wait()
	select {
	case err := <-faults:
		return nil, err
	default:
		return len(r.Members), nil
	}
}

func (m member) run(pattern *v1alpha1.AnalysisRun) *v1alpha1.AnalysisRun {
	run := pattern.DeepCopy()
	run.Namespace, run.Name, run.UID = m.Namespace, m.Name, m.UID
	run.Labels[v1alpha1.DefaultRolloutUniqueLabelKey] = m.Hash
	run.OwnerReferences[0].Name, run.OwnerReferences[0].UID = m.Name, m.Owner
	return run
}
