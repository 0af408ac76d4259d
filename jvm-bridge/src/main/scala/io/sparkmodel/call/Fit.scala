// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.call

import io.sparkmodel.wire.Handle
import org.apache.spark.sql.catalyst.expressions.Expression
import org.apache.spark.sql.types.{DataType, StructType}

/** Whether resolved arguments fit, by number and type, the inputs of a model: what a worker would find at the first batch. */
object Fit {

  def check(handle: Handle, arguments: Seq[Expression]): Unit = {
    val model = Signatures.takes(handle)
    model.inputs match {
      case None if arguments.isEmpty => throw Binding.mismatch(
        model, "no columns were given, and the model has no signature that names them", "name the columns")
      case Some(inputs) if !handle.contract.inputs.exists(i => i.hasTensors || i.likeMlflow) =>
        check(model, inputs, arguments, if (handle.call.byName) handle.call.names else Nil)
      case _ =>
    }
  }

  private def check(model: Takes, inputs: Seq[Input], arguments: Seq[Expression], names: Seq[String]): Unit =
    arguments match {
      case several if names.nonEmpty =>
        checkRow(model, inputs, Signatures.rowOf(names.zip(several.map(_.dataType))))
      case Seq(one) if one.dataType.isInstanceOf[StructType] =>
        checkRow(model, inputs, one.dataType.asInstanceOf[StructType])
      case Seq(one) if inputs.size > 1 && Signatures.isRowOfNumbers(one.dataType) =>
        inputs.foreach(checkType(model, _, Signatures.elementOf(one.dataType)))
      case _ =>
        if (arguments.size > inputs.size || inputs.drop(arguments.size).exists(_.required))
          throw Binding.mismatch(
            model,
            s"the model takes ${inputs.size} columns (${inputs.mkString(", ")}), given are ${arguments.size}: " +
              arguments.map(_.dataType.sql).mkString("(", ", ", ")"),
            "pass the columns in the model's order, or one struct with the model's column names")
        inputs.zip(arguments).foreach { case (input, argument) => checkType(model, input, argument.dataType) }
    }

  private def checkRow(model: Takes, inputs: Seq[Input], row: StructType): Unit =
    if (inputs.forall(_.name.isDefined) && !Signatures.isObject(inputs, row)) inputs.foreach { input =>
      Names.places(input.name.get, row.fieldNames.toSeq) match {
        case Seq(at) => checkType(model, input, row(at).dataType)
        case Seq() if input.required =>
          throw Binding.missing(model, input.name.get, inputs, row.fieldNames.toSeq)
        case Seq() =>
        case _ => throw Binding.mismatch(model, s"column '${input.name.get}' is there twice", "give it once")
      }
    }

  private def checkType(model: Takes, input: Input, from: DataType): Unit =
    input.dataType.filterNot(Signatures.canWiden(from, _)).foreach { wanted =>
      val column = input.name.fold("a column")(name => s"column '$name'")
      throw Binding.mismatch(model, s"$column is ${from.sql}, the model takes ${wanted.sql}", s"cast it to ${wanted.sql}")
    }
}
