# Redix's pool of names, for poolFaults.ts: three named connections under a supervisor, one of them chosen at random for each
# call, with all defaults. Asked on stdin with lines `id timeout word word …`, answers with lines `id ok|error text`.
[host, port] = System.argv()
{:ok, _} = Application.ensure_all_started(:telemetry)
# Logs of what is broken on purpose.
Logger.configure(level: :none)
size = 3

children =
  for index <- 0..(size - 1) do
    Supervisor.child_spec({Redix, host: host, port: String.to_integer(port), name: :"redix_#{index}"}, id: {Redix, index})
  end

{:ok, _} = Supervisor.start_link(children, strategy: :one_for_one)
for index <- 0..(size - 1), do: Redix.command!(:"redix_#{index}", ["PING"])
IO.puts("ready")

# A caller of its own for each call, as a web request is.
answer = fn line ->
  [id, timeout | command] = String.split(line)
  options = if timeout == "-", do: [], else: [timeout: String.to_integer(timeout)]

  spawn(fn ->
    case Redix.command(:"redix_#{Enum.random(0..(size - 1))}", command, options) do
      {:ok, reply} -> IO.puts("#{id} ok #{inspect(reply)}")
      {:error, error} -> IO.puts("#{id} error #{inspect(error)}")
    end
  end)
end

IO.stream(:stdio, :line) |> Enum.each(answer)
