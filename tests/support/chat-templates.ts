// Chat templates as families of models have them, in short: what their answers look like shows in each.

const turns = `{% for m in messages %}[{{ m.role }}] {{ m.content }}{% if m.tool_calls %}{% for c in m.tool_calls %}CALL{% endfor %}{% endif %}
{% endfor %}`

const offered = `{% if tools %}{% for t in tools %}{{ t | tojson }}
{% endfor %}{% endif %}`

const callInJson = (open: string, close: string, key: string): string =>
  turns.replace(
    'CALL',
    `${open}{"name": "{{ c.function.name }}", "${key}": {{ c.function.arguments | tojson }}}${close}`,
  )

export const hermesTemplate = `${offered}${callInJson('<tool_call>\n', '\n</tool_call>', 'arguments')}[assistant]`

export const thinkingTemplate = `${hermesTemplate}{# </think> #}{% if enable_thinking is not defined or enable_thinking %}<think>
{% endif %}`

export const mistralTemplate = `${offered}${callInJson('[TOOL_CALLS][', ']', 'arguments')}[assistant]`

export const mistralNamedTemplate = `${offered}${turns.replace('CALL', '[TOOL_CALLS]{{ c.function.name }}[ARGS]{{ c.function.arguments | tojson }}')}[assistant]`

export const llamaTemplate = `${offered}{# {"name": function name, "parameters": dictionary} ipython #}${callInJson('', '', 'parameters')}[assistant]`

const deepseekCall = '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>'

export const deepseekTemplate = `${offered}${turns.replace('CALL', `${deepseekCall}function<｜tool▁sep｜>{{ c.function.name }}\n\`\`\`json\n{{ c.function.arguments }}\n\`\`\`<｜tool▁call▁end｜><｜tool▁calls▁end｜>`)}[assistant]`

export const deepseekShortTemplate = `${offered}${turns.replace('CALL', `${deepseekCall}{{ c.function.name }}<｜tool▁sep｜>{{ c.function.arguments }}<｜tool▁call▁end｜><｜tool▁calls▁end｜>`)}[assistant]`

export const harmonyTemplate = `Reasoning: {{ reasoning_effort or 'medium' }}
${offered}${turns.replace('CALL', '<|channel|>commentary to=functions.{{ c.function.name }} <|constrain|>json<|message|>{{ c.function.arguments | tojson }}<|call|>')}<|start|>assistant`

export const qwenCoderTemplate = `${offered}${turns.replace(
  'CALL',
  `<tool_call>
<function={{ c.function.name }}>
{% for name, value in c.function.arguments|items %}<parameter={{ name }}>
{{ value | tojson | safe if value is mapping or (value is sequence and value is not string) else value | string }}
</parameter>
{% endfor %}</function>
</tool_call>`,
)}[assistant]`

export const glmTemplate = `${offered}${turns.replace(
  'CALL',
  `<tool_call>{{ c.function.name }}
{% set _args = c.function.arguments %}{% for k, v in _args.items() %}<arg_key>{{ k }}</arg_key>
<arg_value>{{ v | tojson if v is not string else v }}</arg_value>
{% endfor %}</tool_call>`,
)}[assistant]`

export const kimiTemplate = `${offered}${turns.replace(
  'CALL',
  "<|tool_calls_section_begin|><|tool_call_begin|>{{ c['id'] }}<|tool_call_argument_begin|>{{ c['function']['arguments'] if c['function']['arguments'] is string else c['function']['arguments'] | tojson }}<|tool_call_end|><|tool_calls_section_end|>",
)}[assistant]`
