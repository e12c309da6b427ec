// Prints what Argo's own evaluator makes of conditions: {"conditions": {text: true|false|null}}.
//
//	go mod init conditions && go get github.com/argoproj/argo-rollouts@v1.9.1 && go mod tidy
//	go run . < asked.json > conditions.json      (asked.json: {"result": {...}, "conditions": [...]})
//
// null is an error. v1.9.1 (expr-lang 1.16.9) and v1.10.1 (1.17.7) were asked; the conditions on which
// they disagree are left out.
package main

import (
	"encoding/json"
	"os"

	"github.com/argoproj/argo-rollouts/utils/evaluate"
)

func main() {
	var asked struct {
		Result     any      `json:"result"`
		Conditions []string `json:"conditions"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		panic(err)
	}
	answers := map[string]any{}
	for _, condition := range asked.Conditions {
		answers[condition] = nil
		if held, err := evaluate.EvalCondition(asked.Result, condition); err == nil {
			answers[condition] = held
		}
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(map[string]any{"result": asked.Result, "conditions": answers}); err != nil {
		panic(err)
	}
}
