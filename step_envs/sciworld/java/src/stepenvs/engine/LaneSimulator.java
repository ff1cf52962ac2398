package stepenvs.engine;

import java.util.Locale;
import java.util.Set;
import main.scala.scienceworld.runtime.Simplification;
import main.scala.scienceworld.runtime.SimplifierProcessor$;
import scala.Tuple3;
import scala.collection.mutable.ArrayBuffer;
import scienceworld.goldagent.PathFinder$;
import scienceworld.runtime.AgentInterface;
import scienceworld.runtime.pythonapi.PythonInterface;
import stepenvs.lanes.LaneEngine;
import stepenvs.lanes.Reply;
import util.UniqueIdentifier$;

/**
 * One simulator of many that share the engine's classes.
 *
 * <p>The engine keeps three things in global variables that belong to an episode: the place in the random stream, the
 * counter that numbers objects, and the simplifications. They are put back at each call that another simulator came
 * before. A fourth, the routes that gold paths have in common, is forgotten before each gold path: they are drawn at
 * random when first needed, so that a gold path would depend on those computed before it.
 */
public final class LaneSimulator extends PythonInterface implements LaneEngine {
    // The engine answers these outside the world: they take no tick and do not change the score.
    private static final Set<String> QUERIES = Set.of("help", "objects", "task");

    // What the stock interface says if the world says nothing: a pending question was not answered with a number.
    private static final String NO_ANSWER =
            "Unknown action.  Type 'help' for a list of actions, and 'objects' for a list of possible object referents. ";

    private static final UniqueIdentifier$ OBJECT_COUNTER = UniqueIdentifier$.MODULE$;

    /** Whose values the global variables hold now. */
    private static LaneSimulator present;

    private long randomState;
    private long objectCount;
    private Object[] simplifications = {};

    private String score = "0.0";
    private boolean completed;

    /** Makes a simulator. */
    public static LaneEngine create() {
        // The constructor of the stock interface draws random numbers: not from the stream of whoever is present.
        long randomState = GeneratorState.SHARED.state;
        long objectCount = OBJECT_COUNTER.count();
        LaneSimulator simulator = new LaneSimulator();
        GeneratorState.SHARED.state = randomState;
        OBJECT_COUNTER.count_$eq(objectCount);
        return simulator;
    }

    @Override
    public String load(String task, int variation, String simplifications) {
        enter();
        String fault = load(task, variation, simplifications, false);
        return fault.isEmpty() ? act("look around") : Reply.text("-1", true, 0, fault, "", "");
    }

    /** Loads a task as the stock interface does; gold paths load their task through this as well. */
    @Override
    public String load(String task, int variation, String simplifications, boolean gold) {
        TaskSelection.wanted(task);
        return super.load(task, variation, simplifications, gold);
    }

    @Override
    public String step(String action, boolean draw) {
        enter();
        if (draw) {
            ListDraws.draw(world());
        }
        if (QUERIES.contains(action.trim().toLowerCase(Locale.ROOT))) {
            return reply(step(action));
        }
        return act(action);
    }

    @Override
    public String validActions() {
        enter();
        return String.join("\n", getValidActionObjectCombinations());
    }

    @Override
    public String taskDescription() {
        enter();
        return freeActionTaskDesc();
    }

    @Override
    public String goalProgress() {
        enter();
        return getGoalProgressStr();
    }

    @Override
    public String goldPath(String task, int variation, String simplifications) {
        enter();
        PathFinder$.MODULE$.precomputedExhaustivePaths().clear();
        String fault = load(task, variation, simplifications, true);
        return fault.isEmpty() ? String.join("\n", getGoldActionSequence()) : fault;
    }

    /** Carries out an action. The stock interface does as much again, for a history that nobody asked for. */
    private String act(String action) {
        Tuple3<String, Object, Object> answer = world().step(action);
        score = answer._2().toString();
        completed = (Boolean) answer._3();
        return reply(answer._1().isEmpty() ? NO_ANSWER : answer._1());
    }

    private String reply(String observation) {
        int ticks = world().getCurIterations();
        return Reply.text(score, completed, ticks, observation, freeActionLook(), freeActionInventory());
    }

    private AgentInterface world() {
        return agentInterface().get();
    }

    /** Makes the global variables those of this simulator. */
    private void enter() {
        ObjectTree.forgetUnfinishedWalks();
        if (present == this) {
            return;
        }
        ArrayBuffer<Simplification> active = SimplifierProcessor$.MODULE$.simplifications();
        if (present != null) {
            present.leave(active);
        }
        present = this;
        GeneratorState.SHARED.state = randomState;
        OBJECT_COUNTER.count_$eq(objectCount);
        active.clear();
        for (Object simplification : simplifications) {
            active.$plus$eq((Simplification) simplification);
        }
    }

    private void leave(ArrayBuffer<Simplification> active) {
        randomState = GeneratorState.SHARED.state;
        objectCount = OBJECT_COUNTER.count();
        simplifications = new Object[active.size()];
        for (int i = 0; i < simplifications.length; i++) {
            simplifications[i] = active.apply(i);
        }
    }
}
