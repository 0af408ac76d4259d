// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import scala.annotation.tailrec

import io.sparkmodel.call.{ModelCall, ScoreIf}
import io.sparkmodel.plan.Settings
import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.plans.logical.{ArrowEvalPython, LogicalPlan, Project}
import org.apache.spark.sql.execution.{ProjectExec, SparkPlan, SparkStrategy}

/** Plans the calls of models that Spark would give to its Python workers. */
object ModelScoreStrategy extends SparkStrategy {

  override def apply(plan: LogicalPlan): Seq[SparkPlan] = plan match {
    case Project(list, eval: ArrowEvalPython) if isOurs(eval) =>
      val used = AttributeSet(list)
      Seq(ProjectExec(list, score(eval, used.contains)))
    case eval: ArrowEvalPython if isOurs(eval) => Seq(score(eval, _ => true))
    case eval: ArrowEvalPython if isOn => split(eval).map(planLater).toSeq
    case _ => Nil
  }

  private def isOn: Boolean = Settings.isOn(Settings.BridgeEnabled)

  private def isOurs(eval: ArrowEvalPython): Boolean =
    (isOn || isForBridge(eval)) && eval.udfs.forall(udf => isOurs(udf) && !udf.children.exists(_.exists(_.isInstanceOf[PythonUDF])))

  /** A plan that was made for the bridge stays with it, if the setting changes before it runs. */
  private def isForBridge(eval: ArrowEvalPython): Boolean =
    eval.udfs.size > 1 || eval.udfs.exists(_.children.lastOption.exists(_.isInstanceOf[ScoreIf]))

  private def isOurs(udf: PythonUDF): Boolean = ModelCall.unapply(udf).isDefined

  private def score(eval: ArrowEvalPython, isUsed: Attribute => Boolean): SparkPlan = {
    val all = together(eval)
    ModelScoreExec(all.udfs, all.resultAttrs, all.child.output.filter(isUsed), planLater(all.child))
  }

  /** Calls one above the other as one operator, where those above need no result of those below. */
  @tailrec
  private def together(eval: ArrowEvalPython): ArrowEvalPython = eval.child match {
    case below: ArrowEvalPython
        if isOurs(below) && eval.udfs.forall(_.references.intersect(AttributeSet(below.resultAttrs)).isEmpty) =>
      together(ArrowEvalPython(
        below.udfs ++ eval.udfs, below.resultAttrs ++ eval.resultAttrs, below.child, eval.evalType))
    case _ => eval
  }

  /** Functions of ours beside or around others': each kind in a node of its own, the inner ones first. */
  private def split(eval: ArrowEvalPython): Option[LogicalPlan] = {
    val nested = eval.udfs.flatMap(_.children.flatMap(_.collect { case inner: PythonUDF => inner }))
    if (nested.exists(isOurs) || (nested.nonEmpty && eval.udfs.exists(isOurs))) {
      // Spark chains calls whose only argument is a call
      val inner = eval.udfs.flatMap(_.children).collect { case call: PythonUDF => call }.distinctBy(_.canonicalized)
      val results = inner.zipWithIndex.map { case (call, i) => AttributeReference(s"pythonUDF$i", call.dataType)() }
      val place = inner.map(_.canonicalized).zip(results).toMap[Expression, Attribute]
      val outer = eval.udfs.map { udf =>
        udf.withNewChildren(udf.children.map(c => place.getOrElse(c.canonicalized, c))).asInstanceOf[PythonUDF]
      }
      val below = ArrowEvalPython(inner, results, eval.child, eval.evalType)
      Some(Project(eval.output, ArrowEvalPython(outer, eval.resultAttrs, below, eval.evalType)))
    } else {
      val (ours, others) = eval.udfs.zip(eval.resultAttrs).partition { case (udf, _) => isOurs(udf) }
      Option.when(ours.nonEmpty && others.nonEmpty) {
        val below = ArrowEvalPython(ours.map(_._1), ours.map(_._2), eval.child, eval.evalType)
        Project(eval.output, ArrowEvalPython(others.map(_._1), others.map(_._2), below, eval.evalType))
      }
    }
  }
}
