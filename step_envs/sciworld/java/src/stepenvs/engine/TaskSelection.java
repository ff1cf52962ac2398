package stepenvs.engine;

import java.util.HashMap;
import java.util.Map;
import java.util.function.Consumer;
import scienceworld.tasks.TaskMaker1;
import scienceworld.tasks.specifictasks.TaskChangeOfState$;
import scienceworld.tasks.specifictasks.TaskChemistryMix$;
import scienceworld.tasks.specifictasks.TaskChemistryMixPaint$;
import scienceworld.tasks.specifictasks.TaskElectricCircuit$;
import scienceworld.tasks.specifictasks.TaskElectricalConductivity$;
import scienceworld.tasks.specifictasks.TaskElectricalConductivity2$;
import scienceworld.tasks.specifictasks.TaskFindLivingNonLiving$;
import scienceworld.tasks.specifictasks.TaskGrowPlant$;
import scienceworld.tasks.specifictasks.TaskIdentifyLifeStages1$;
import scienceworld.tasks.specifictasks.TaskIdentifyLifeStages2$;
import scienceworld.tasks.specifictasks.TaskInclinedPlane1$;
import scienceworld.tasks.specifictasks.TaskInclinedPlane2$;
import scienceworld.tasks.specifictasks.TaskInclinedPlane3$;
import scienceworld.tasks.specifictasks.TaskLifeSpan$;
import scienceworld.tasks.specifictasks.TaskMendelianGenetics1$;
import scienceworld.tasks.specifictasks.TaskMendelianGenetics2$;
import scienceworld.tasks.specifictasks.TaskUseInstrumentThermometer$;
import scienceworld.tasks.specifictasks.TaskUseInstrumentThermometer2$;
import scienceworld.tasks.specifictasks.TaskUseInstrumentThermometer3$;
import util.UniqueIdentifier$;

/**
 * Builds the task that is to be played, in place of all thirty.
 *
 * <p>The engine builds all variations of all tasks anew with each load: three fifths of a reset. The wanted task comes out
 * the same without the others if two things are as they were: the random numbers that the tasks before it draw, so those
 * tasks are built as well; and the numbers that objects get, so the counter is moved on for tasks that are left out.
 */
public final class TaskSelection {
    private static final Group[] GROUPS = {
        group(TaskChangeOfState$.MODULE$::registerTasks, true, 360, "melt", "freeze", "boil",
                "change-the-state-of-matter-of"),
        group(TaskElectricCircuit$.MODULE$::registerTasks, false, 60, "power-component",
                "power-component-renewable-vs-nonrenewable-energy"),
        group(TaskElectricalConductivity$.MODULE$::registerTasks, false, 156, "test-conductivity"),
        group(TaskElectricalConductivity2$.MODULE$::registerTasks, true, 120,
                "test-conductivity-of-unknown-substances"),
        group(TaskFindLivingNonLiving$.MODULE$::registerTasks, true, 5160, "find-animal", "find-non-living-thing",
                "find-plant", "find-living-thing"),
        group(TaskGrowPlant$.MODULE$::registerTasks, false, 1602, "grow-fruit", "grow-plant"),
        group(TaskChemistryMix$.MODULE$::registerTasks, false, 312, "chemistry-mix"),
        group(TaskChemistryMixPaint$.MODULE$::registerTasks, true, 222, "chemistry-mix-paint-secondary-color",
                "chemistry-mix-paint-tertiary-color"),
        group(TaskLifeSpan$.MODULE$::registerTasks, false, 135, "lifespan-longest-lived-then-shortest-lived",
                "lifespan-longest-lived", "lifespan-shortest-lived"),
        group(TaskIdentifyLifeStages1$.MODULE$::registerTasks, false, 630, "identify-life-stages-1"),
        group(TaskIdentifyLifeStages2$.MODULE$::registerTasks, true, 2850, "identify-life-stages-2"),
        group(TaskInclinedPlane1$.MODULE$::registerTasks, false, 150, "inclined-plane-friction-named-surfaces"),
        group(TaskInclinedPlane2$.MODULE$::registerTasks, false, 60, "inclined-plane-friction-unnamed-surfaces"),
        group(TaskInclinedPlane3$.MODULE$::registerTasks, false, 60, "inclined-plane-determine-angle"),
        group(TaskMendelianGenetics1$.MODULE$::registerTasks, true, 360, "mendelian-genetics-known-plant"),
        group(TaskMendelianGenetics2$.MODULE$::registerTasks, true, 600, "mendelian-genetics-unknown-plant"),
        group(TaskUseInstrumentThermometer$.MODULE$::registerTasks, true, 1173, "use-thermometer"),
        group(TaskUseInstrumentThermometer2$.MODULE$::registerTasks, true, 303,
                "measure-melting-point-known-substance"),
        group(TaskUseInstrumentThermometer3$.MODULE$::registerTasks, true, 2883,
                "measure-melting-point-unknown-substance"),
    };

    private static final Map<String, Integer> GROUP_OF = new HashMap<>();

    static {
        for (int i = 0; i < GROUPS.length; i++) {
            for (String task : GROUPS[i].tasks) {
                GROUP_OF.put(task, i);
            }
        }
    }

    private static String wanted;

    private TaskSelection() {}

    /** Tasks that the engine builds together. */
    private static final class Group {
        final Consumer<TaskMaker1> build;
        final boolean draws;
        final int objects;
        final String[] tasks;

        Group(Consumer<TaskMaker1> build, boolean draws, int objects, String[] tasks) {
            this.build = build;
            this.draws = draws;
            this.objects = objects;
            this.tasks = tasks;
        }
    }

    private static Group group(Consumer<TaskMaker1> build, boolean draws, int objects, String... tasks) {
        return new Group(build, draws, objects, tasks);
    }

    /** Names the task that the next task makers are to build. */
    static void wanted(String task) {
        if (!GROUP_OF.containsKey(task)) {
            throw new IllegalArgumentException("no such task: " + task);
        }
        wanted = task;
    }

    /** Takes the place of the method of {@code TaskMaker1} that builds all tasks; its constructor calls it. */
    public static void registerTasks(TaskMaker1 maker) {
        if (wanted == null) {
            return; // a simulator is being made, and loads its task later
        }
        int last = GROUP_OF.get(wanted);
        UniqueIdentifier$ counter = UniqueIdentifier$.MODULE$;
        for (int i = 0; i < GROUPS.length; i++) {
            if (i == last || i < last && GROUPS[i].draws) {
                GROUPS[i].build.accept(maker);
            } else {
                counter.count_$eq(counter.count() + GROUPS[i].objects);
            }
        }
    }
}
